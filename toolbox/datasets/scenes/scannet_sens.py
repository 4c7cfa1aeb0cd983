"""ScanNet's ``.sens`` files, decoded once into the cache."""

from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.io import atomic_path, write_depth_png, write_image
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

from .assembly import SceneBuilder, check_intrinsics, inverse_rigid
from .cache import cache_folder, make_missing
from .scannet import own_grid_unless_same, require_identity
from .sens_file import COLOUR_SUFFIXES, SensFile, SensFrame


@SCENES.register_module()
def ScanNetSens(path: str | Path, every: int = 1, depth: bool = True, cache_dir: str | Path | None = None) -> Scene:
    """A scene of ScanNet's ``.sens`` file, in metres.

    Colour (JPEG, PNG or raw) goes to the cache as stored, depth (zlib or raw 16 bit) as PNG; frames already decoded are
    reused.

    Args:
        path: the file, or a folder with one.
        every: take (and decode) every so manieth frame.
        depth: False leaves the depth maps alone.
        cache_dir: see ``toolbox.datasets.scenes.cache``.

    Returns:
        The scene; view ids are the frame numbers.

    Raises:
        UserError: the file is truncated or of a form not known, a pose is not rigid, no view is usable.
    """
    path = _find_file(Path(path))
    sens = SensFile(path)
    header = sens.header
    suffix = ".png" if sens.colour_is_raw else COLOUR_SUFFIXES.get(header.colour_compression)
    if suffix is None:
        raise UserError(
            path, f"compresses colour by method {header.colour_compression}", "Known are raw, PNG and JPEG (0, 1, 2)"
        )
    builder = SceneBuilder(path.stem, path)
    poses = {}
    for index in range(0, len(sens.frames), every):
        pose = builder.usable_pose(str(index), sens.frames[index].cam_to_world, f"{path} (frame {index})")
        if pose is not None:
            poses[index] = pose
    folder = cache_folder("sens", [path], {}, cache_dir, str(path))
    targets = {}
    for index in poses:
        frame = sens.frames[index]
        targets[_colour_file(folder, index, suffix)] = lambda out, frame=frame: _write_colour(out, sens, frame)
        if depth:
            targets[_depth_file(folder, index)] = lambda out, frame=frame: write_depth_png(out, sens.depth(frame))
    make_missing(targets, f"decoding {path.name}")
    intrinsics = check_intrinsics(header.colour_intrinsics[:3, :3], path)
    if depth:
        require_identity(header.colour_extrinsics, path)
        require_identity(header.depth_extrinsics, path)
        depth_intrinsics = check_intrinsics(header.depth_intrinsics[:3, :3], path)
    for index, cam_to_world in poses.items():
        image_path = _colour_file(folder, index, suffix)
        size = builder.readable_size(str(index), image_path)
        if size is None:
            continue
        builder.check_size(image_path, size, header.colour_size)
        view = View(
            index,
            image_path,
            size,
            intrinsics,
            inverse_rigid(cam_to_world),
            _depth_file(folder, index) if depth else None,
            1.0 / header.depth_shift,
            name=str(index),
            depth_intrinsics=own_grid_unless_same((header.depth_size, depth_intrinsics), size, intrinsics)
            if depth
            else None,
        )
        builder.add(view, camera="colour")
    return builder.build("m")


def _find_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.sens"))
    if len(found) != 1:
        raise UserError(path, f"holds {len(found)} .sens files", "Give the file itself")
    return found[0]


def _colour_file(folder: Path, index: int, suffix: str) -> Path:
    return folder / f"{index:06d}.color{suffix}"


def _depth_file(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.depth.png"


def _write_colour(out: Path, sens: SensFile, frame: SensFrame) -> None:
    data = sens.colour_bytes(frame)
    if sens.colour_is_raw:
        expected = (*sens.header.colour_size, 3)
        if len(data) != np.prod(expected):
            raise UserError(sens.path, f"holds a raw image of {len(data)} bytes", "Download the file anew")
        write_image(out, np.frombuffer(data, np.uint8).reshape(expected))
        return
    with atomic_path(out) as temporary:
        temporary.write_bytes(data)
