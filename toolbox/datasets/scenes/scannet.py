"""ScanNet exported to folders: ``color/ depth/ pose/ intrinsic/``."""

from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.io import image_size
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

from .assembly import IMAGE_SUFFIXES, SceneBuilder, check_intrinsics, inverse_rigid, read_matrix

MILLIMETRE = 0.001
_MESHES = ("*_vh_clean_2.ply", "*_vh_clean.ply", "mesh.ply", "mesh_gt.ply", "gt_mesh.ply")


@SCENES.register_module()
def ScanNetScene(root: str | Path, every: int = 1, depth: bool = True) -> Scene:
    """A scene of ScanNet's exported folders, in metres.

    ``color/N.jpg``, ``depth/N.png`` (millimetres), ``pose/N.txt`` (camera to world), ``intrinsic/intrinsic_color.txt``
    and ``intrinsic_depth.txt``. Depth may have other intrinsics and another resolution than colour; it must be in the
    colour camera's frame (the extrinsics are the identity). A mesh ``*_vh_clean_2.ply`` or ``mesh.ply`` is the scene's
    ground truth.

    Args:
        root: the scene's folder.
        every: take every so manieth frame.
        depth: False leaves the depth maps alone.

    Returns:
        The scene; view ids are the frame numbers. A frame without depth map is a view without depth.

    Raises:
        UserError: a file is malformed, a pose is not rigid, an image is not of the others' size, no view is usable.
    """
    root = Path(root)
    builder = SceneBuilder(root.resolve().name, root)
    images, poses = _frames(root / "color", IMAGE_SUFFIXES), _frames(root / "pose", (".txt",))
    depths = _frames(root / "depth", (".png",)) if depth and (root / "depth").is_dir() else {}
    intrinsics = read_intrinsics(root / "intrinsic" / "intrinsic_color.txt")
    own_grid = _depth_intrinsics(root, depths)
    for frame in sorted({*images, *poses})[::every]:
        name = images[frame].name if frame in images else str(frame)
        size = builder.readable_size(name, images.get(frame))
        if size is None:
            continue
        if frame not in poses:
            builder.leave_out(name, "pose is missing")
            continue
        cam_to_world = builder.usable_pose(name, read_matrix(poses[frame]), poses[frame])
        if cam_to_world is None:
            continue
        view = View(
            frame,
            images[frame],
            size,
            intrinsics,
            inverse_rigid(cam_to_world),
            depths.get(frame),
            MILLIMETRE,
            name=name,
            depth_intrinsics=own_grid_unless_same(own_grid, size, intrinsics),
        )
        builder.add(view, camera="colour")
    return builder.build("m", mesh_path=next((p for pattern in _MESHES for p in sorted(root.glob(pattern))), None))


def read_intrinsics(path: Path) -> np.ndarray:
    """The (3, 3) intrinsics of a file of 4 x 4 or 3 x 3 numbers."""
    matrix = read_matrix(path)
    if matrix.shape not in ((3, 3), (4, 4), (3, 4)):
        raise UserError(path, f"holds a matrix of shape {matrix.shape}", "Write 3 x 3 or 4 x 4 intrinsics")
    return check_intrinsics(matrix[:3, :3], path)


def own_grid_unless_same(
    grid: tuple[tuple[int, int], np.ndarray] | None, size: tuple[int, int], intrinsics: np.ndarray
) -> np.ndarray | None:
    """The depth maps' intrinsics where ``grid``, their (size, intrinsics), is not the images'; else None."""
    if grid is None or (grid[0] == size and np.allclose(grid[1], intrinsics, rtol=0, atol=1e-6)):
        return None
    return grid[1]


def require_identity(extrinsics: np.ndarray, where: str | Path) -> None:
    """Raise UserError where depth and colour are not one camera."""
    if np.abs(extrinsics - np.eye(4)).max() > 1e-5:
        raise UserError(
            where,
            "says that depth and colour camera differ (it is not the identity)",
            "Register the depth maps to colour first, or load the scene without depth",
        )


def _frames(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    if not folder.is_dir():
        raise UserError(
            folder, "is no folder", "Expected color/N.jpg, pose/N.txt, intrinsic/ and optionally depth/N.png"
        )
    files = [path for path in folder.iterdir() if path.suffix in suffixes and path.stem.isdigit()]
    return {int(path.stem): path for path in files}


def _depth_intrinsics(root: Path, depths: dict[int, Path]) -> tuple[tuple[int, int], np.ndarray] | None:
    """Size and intrinsics of the depth maps; None where there are none, or no intrinsics of their own."""
    path = root / "intrinsic" / "intrinsic_depth.txt"
    if not depths or not path.is_file():
        return None
    for name in ("extrinsic_color.txt", "extrinsic_depth.txt"):
        extrinsics = root / "intrinsic" / name
        if extrinsics.is_file():
            require_identity(read_matrix(extrinsics), extrinsics)
    return image_size(depths[min(depths)]), read_intrinsics(path)
