"""Point cloud -> surface: screened Poisson reconstruction, trimmed to where there are points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from toolbox.errors import UserError

from .cloud import PointCloud, merge_for_surface
from .recipe import FusionRecipe

_MAX_AUTO_DEPTH = 11
_POISSON_SCALE = 1.1  # edge of the octree's cube over that of the points' bounding box


@dataclass(frozen=True)
class TriangleMesh:
    """A triangle mesh; triangles turn counter-clockwise seen from the cameras' side.

    Attributes:
        vertices: in the scene's world and unit.
        triangles: vertex indices.
        rgb: colours of the vertices.
    """

    vertices: Float32[np.ndarray, "n 3"]
    triangles: Int32[np.ndarray, "m 3"]
    rgb: UInt8[np.ndarray, "n 3"]

    def select(self, keep: Bool[np.ndarray, " n"]) -> "TriangleMesh":
        """The mesh of the vertices kept: triangles that lose one go, and vertices left without a triangle too."""
        triangles = self.triangles[keep[self.triangles].all(axis=1)]
        used = np.zeros(len(self.vertices), bool)
        used[triangles] = True
        new_index = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return TriangleMesh(self.vertices[used], new_index[triangles], self.rgb[used])


def poisson_mesh(cloud: PointCloud, recipe: FusionRecipe) -> TriangleMesh:
    """Screened Poisson surface (Kazhdan and Hoppe 2013) of a cloud with normals.

    Poisson closes every surface, far from any point too. What no point supports is removed: vertices farther than
    ``trim_distance`` point spacings from the nearest point, and the ``trim_quantile`` of lowest density.
    One thread solves it: several give another mesh at each run.

    Raises:
        UserError: the cloud is empty or has no normals, or nothing is left after trimming.
    """
    cloud.require_points()
    if cloud.normals is None:
        raise UserError(
            "the point cloud", "has no normals, which Poisson reconstruction needs", "Call estimate_normals"
        )
    import open3d as o3d
    from scipy.spatial import cKDTree

    support = merge_for_surface(cloud, recipe).cloud
    points = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(support.xyz.astype(np.float64)))
    points.normals = o3d.utility.Vector3dVector(support.normals.astype(np.float64))
    points.colors = o3d.utility.Vector3dVector(support.rgb / 255.0)
    depth = recipe.poisson_depth or auto_poisson_depth(support)
    surface, density = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(
        points, depth=depth, scale=_POISSON_SCALE, n_threads=1
    )
    mesh = from_open3d(surface)
    density = np.asarray(density)
    reach = recipe.trim_distance * support.spacing
    distance, _ = cKDTree(support.xyz).query(mesh.vertices, distance_upper_bound=reach, workers=-1)
    keep = np.isfinite(distance) & (density >= np.quantile(density, recipe.trim_quantile))
    trimmed = mesh.select(keep)
    if not len(trimmed.triangles):
        raise UserError(
            "the Poisson surface",
            f"lost all of its {len(mesh.triangles)} triangles by trimming",
            "Raise trim_distance or lower trim_quantile in the fusion recipe",
        )
    return trimmed


def auto_poisson_depth(cloud: PointCloud) -> int:
    """Deepest octree whose finest cells are no smaller than the point spacing, from 5 to 11 levels."""
    extent = float(np.ptp(cloud.xyz, axis=0).max()) * _POISSON_SCALE
    cells = max(extent / cloud.spacing, 1)
    return int(np.clip(np.floor(np.log2(cells)), 5, _MAX_AUTO_DEPTH))


def from_open3d(mesh) -> TriangleMesh:
    """A legacy Open3D mesh as arrays."""
    vertices = np.asarray(mesh.vertices).astype(np.float32)
    colours = np.asarray(mesh.vertex_colors)
    rgb = (
        np.rint(colours * 255).clip(0, 255).astype(np.uint8) if len(colours) else np.full(vertices.shape, 128, np.uint8)
    )
    return TriangleMesh(vertices, np.asarray(mesh.triangles).astype(np.int32), rgb)
