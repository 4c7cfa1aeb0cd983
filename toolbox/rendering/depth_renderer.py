"""What every renderer shares: its interface, reading meshes, checking what it is given."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Integer, Num, UInt32

from toolbox.errors import UserError

MeshArrays = tuple[Num[np.ndarray, "n 3"], Integer[np.ndarray, "m 3"]]


class DepthRenderer(ABC):
    """Depth maps of a triangle mesh.

    A pixel's value is the z-depth, in the mesh's unit, of the first surface on the ray through the pixel's centre
    (integer coordinates). Triangles are seen from both sides.

    Load a mesh once, then render any number of views of it. The mesh is moved to the origin before it is rounded to
    single precision, so a world whose origin is far away costs no accuracy.
    """

    def __init__(self) -> None:
        self._centre: Float64[np.ndarray, " 3"] | None = None

    def load(self, mesh: str | Path | MeshArrays) -> None:
        """Take a mesh, in place of the one before.

        Args:
            mesh: a file (PLY, OBJ, STL, OFF, GLB), or (vertices, triangles).

        Raises:
            UserError: the file cannot be read; there are no triangles; a vertex is not finite, or one that a triangle
                names does not exist.
        """
        where, (vertices, triangles) = ("the mesh", mesh) if isinstance(mesh, tuple) else (mesh, read_mesh(mesh))
        _check_mesh(where, vertices, triangles)
        vertices = vertices.astype(np.float64)
        centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        self._set_mesh((vertices - centre).astype(np.float32), triangles.astype(np.uint32))
        self._centre = centre

    def render(
        self,
        intrinsics: Num[np.ndarray, "3 3"],
        world_to_cam: Num[np.ndarray, "4 4"],
        size: tuple[int, int],
        far: float | None = None,
    ) -> Float32[np.ndarray, "h w"]:
        """The depth map of one view.

        Args:
            intrinsics, world_to_cam: the camera, OpenCV axes.
            size: (height, width).
            far: depths beyond it are left out.

        Returns:
            z-depth, 0 where there is no surface, or the first one is beyond ``far``.

        Raises:
            UserError: the camera, size or far limit makes no sense, or is more than this renderer can do.
            RuntimeError: no mesh has been loaded.
        """
        if self._centre is None:
            raise RuntimeError("load a mesh before rendering")
        _check_camera(intrinsics, world_to_cam, size, far)
        mesh_to_cam = world_to_cam.astype(np.float64)
        mesh_to_cam[:3, 3] += mesh_to_cam[:3, :3] @ self._centre
        depth = self._depth(intrinsics.astype(np.float64), mesh_to_cam, size, np.inf if far is None else far)
        depth[~np.isfinite(depth) | (depth > (np.inf if far is None else far))] = 0
        return depth

    @abstractmethod
    def _set_mesh(self, vertices: Float32[np.ndarray, "n 3"], triangles: UInt32[np.ndarray, "m 3"]) -> None:
        """Take a mesh whose bounding box is centred at the origin."""

    @abstractmethod
    def _depth(
        self,
        intrinsics: Float64[np.ndarray, "3 3"],
        mesh_to_cam: Float64[np.ndarray, "4 4"],
        size: tuple[int, int],
        far: float,
    ) -> Float32[np.ndarray, "h w"]:
        """z-depth of the mesh; 0 or infinite where there is none. What lies beyond ``far`` may be left out."""


def read_mesh(path: str | Path) -> MeshArrays:
    """Vertices and triangles of a file (PLY, OBJ, STL, OFF, GLB).

    Raises:
        UserError: the file is missing, or cannot be read whole.
    """
    import trimesh

    if not Path(path).is_file():
        raise UserError(path, "does not exist", "Check the path")
    try:
        # Not Open3D's reader: of a PLY file that is cut off, it returns what it could read.
        mesh = trimesh.load(str(path), force="mesh", process=False)
    except Exception as error:  # each format fails in its own way
        raise UserError(
            path, f"cannot be read as a mesh ({error})", "Give a complete PLY, OBJ, STL, OFF or GLB file"
        ) from error
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def _check_mesh(where: str | Path, vertices: np.ndarray, triangles: np.ndarray) -> None:
    if not len(triangles):
        raise UserError(where, "holds no triangles", "Give a mesh with faces; a point cloud cannot be rendered")
    if not np.isfinite(vertices).all():
        raise UserError(where, "has vertices that are not finite", "Remove them and the triangles that use them")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise UserError(
            where,
            f"has triangles of the vertices {triangles.min()} to {triangles.max()}, but {len(vertices)} vertices",
            "Write the mesh again; indices start at 0",
        )


def _check_camera(intrinsics: np.ndarray, world_to_cam: np.ndarray, size: tuple[int, int], far: float | None) -> None:
    affine = np.array_equal(intrinsics[2], (0, 0, 1)) and intrinsics[1, 0] == 0
    if not (np.isfinite(intrinsics).all() and affine and intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0):
        raise UserError(
            "the intrinsics",
            f"are {np.asarray(intrinsics).tolist()}",
            "Give [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with positive focal lengths",
        )
    rotation = world_to_cam[:3, :3]
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.array_equal(world_to_cam[3], (0, 0, 0, 1))
    if not (np.isfinite(world_to_cam).all() and rigid):
        raise UserError("world_to_cam", f"is no rigid motion: {np.asarray(world_to_cam).tolist()}", "Give [R t; 0 1]")
    if min(size) < 1:
        raise UserError("the size", f"is {size}", "Give (height, width), each at least 1")
    if far is not None and not far > 0:
        raise UserError("the far limit", f"is {far}", "Give a positive depth in the mesh's unit, or None")
