"""The layout of MVSNet's test sets, and of its converters: ``images/``, ``cams/``, ``pair.txt``."""

from pathlib import Path

from toolbox.errors import UserError
from toolbox.io import read_cam_txt, read_pair_txt
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

from .assembly import IMAGE_SUFFIXES, SceneBuilder, check_intrinsics
from .mvsnet_cameras import DEFAULT_NUM_DEPTHS, depth_range_of


@SCENES.register_module()
def MVSNetScene(
    root: str | Path, unit: str = "unknown", num_depths: int = DEFAULT_NUM_DEPTHS, depth: bool = True
) -> Scene:
    """A scene of ``images/{:08d}.jpg``, ``cams/{:08d}_cam.txt`` and, where there is one, ``pair.txt``.

    The intrinsics are taken as written, for the image as stored. ``depth_gt/{:08d}.pfm`` (BlendedMVS:
    ``rendered_depth_maps``) is taken as depth where it exists, ``mesh.ply`` or ``../Meshes/NAME.ply`` as ground truth.

    Args:
        root: the scene's folder.
        unit: 'm', 'mm' or 'unknown'; DTU is in millimetres.
        num_depths: planes of a camera file that gives a first depth and an interval only.
        depth: False leaves the depth maps alone.

    Returns:
        The scene; view ids are the numbers in the file names.

    Raises:
        UserError: a camera file is malformed or not rigid, an image is not of its camera's size, no view is usable.
    """
    root = Path(root)
    builder = SceneBuilder(root.resolve().name, root)
    pair_file = root / "pair.txt"
    pairs = read_pair_txt(pair_file) if pair_file.is_file() else None
    images = _numbered(root / "images", IMAGE_SUFFIXES, "")
    cams = _numbered(root / "cams", (".txt",), "_cam")
    for view_id in sorted({*images, *cams, *(pairs or {})}):
        name = images[view_id].name if view_id in images else f"{view_id:08d}"
        size = builder.readable_size(name, images.get(view_id))
        if size is None:
            continue
        if view_id not in cams:
            builder.leave_out(name, "camera file is missing")
            continue
        cam = read_cam_txt(cams[view_id])
        world_to_cam = builder.usable_pose(name, cam.world_to_cam, cams[view_id])
        if world_to_cam is None:
            continue
        intrinsics = check_intrinsics(cam.intrinsics, cams[view_id])
        depth_path = _depth_path(root, view_id) if depth else None
        depth_range = depth_range_of(cam, cams[view_id], num_depths)
        view = View(
            view_id, images[view_id], size, intrinsics, world_to_cam, depth_path, depth_range=depth_range, name=name
        )
        builder.add(view, camera=intrinsics.tobytes())
    return builder.build(unit, pairs, mesh_path=_mesh_path(root))


def _numbered(folder: Path, suffixes: tuple[str, ...], ending: str) -> dict[int, Path]:
    """Files NUMBER + ending + suffix of a folder, by number."""
    if not folder.is_dir():
        raise UserError(folder, "is no folder", "Expected images/{:08d}.jpg, cams/{:08d}_cam.txt and pair.txt")
    found = {}
    for path in sorted(folder.iterdir()):
        number = path.stem.removesuffix(ending)
        if path.suffix in suffixes and path.stem.endswith(ending) and number.isdigit():
            found[int(number)] = path
    return found


def _depth_path(root: Path, view_id: int) -> Path | None:
    candidates = (root / folder / f"{view_id:08d}.pfm" for folder in ("depth_gt", "rendered_depth_maps"))
    return next((path for path in candidates if path.is_file()), None)


def _mesh_path(root: Path) -> Path | None:
    root = root.resolve()
    candidates = (root / "mesh.ply", root.parent / "Meshes" / f"{root.name}.ply")
    return next((path for path in candidates if path.is_file()), None)
