"""7-Scenes as released: colour and depth of two cameras, not registered; the poses are the depth camera's."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.io import read_depth_png, write_depth_png
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

from .assembly import SceneBuilder, camera_matrix, inverse_rigid, read_matrix
from .cache import cache_folder, make_missing
from .registration import register_depth
from .scannet import MILLIMETRE

_FILE = re.compile(r"frame-(\d+)\.(color\.png|color\.jpg|depth\.png|pose\.txt)")
_UNKNOWN = 65535


@SCENES.register_module()
def SevenScenes(
    root: str | Path,
    every: int = 1,
    depth: bool = True,
    depth_focal: float | Sequence[float] = 585.0,
    depth_centre: Sequence[float] = (320.0, 240.0),
    colour_focal: float | Sequence[float] = 517.2,
    colour_centre: Sequence[float] = (320.8, 236.8),
    depth_to_colour: Sequence[float] = (-0.0276, 0.0, 0.0),
    cache_dir: str | Path | None = None,
) -> Scene:
    """A raw sequence of 7-Scenes, in metres: ``frame-XXXXXX.{color.png|color.jpg,depth.png,pose.txt}``.

    The scene's cameras are the colour camera's. Its depth maps are the stored ones rendered into that camera
    (z-buffered) and kept in the cache as 16-bit millimetres. The defaults are the calibration measured for RedKitchen;
    other users of the data set take 525 for all focal lengths and no offset.

    Args:
        root: the sequence's folder, or one that holds a single sequence.
        every: take every so manieth frame.
        depth: False leaves the depth maps alone.
        depth_focal, depth_centre: of the depth camera, pixels; one focal length, or x and y.
        colour_focal, colour_centre: of the colour camera, likewise.
        depth_to_colour: X_colour = X_depth + this, metres.
        cache_dir: see ``toolbox.datasets.scenes.cache``.

    Returns:
        The scene; view ids are the frame numbers.

    Raises:
        UserError: there are no frames or several sequences, a file is malformed, a pose is not rigid.
    """
    root = _find_sequence(Path(root))
    builder = SceneBuilder(f"{root.resolve().parent.name}_{root.resolve().name}", root)
    depth_k = camera_matrix(*np.broadcast_to(depth_focal, 2), *depth_centre)
    colour_k = camera_matrix(*np.broadcast_to(colour_focal, 2), *colour_centre)
    offset = np.eye(4)
    offset[:3, 3] = depth_to_colour
    frames = _frames(root)
    for number in sorted(frames)[::every]:
        name, files = f"frame-{number:06d}", frames[number]
        size = builder.readable_size(name, files.get("color"))
        if size is None:
            continue
        if "pose" not in files:
            builder.leave_out(name, "pose is missing")
            continue
        depth_to_world = builder.usable_pose(name, read_matrix(files["pose"]), files["pose"])
        if depth_to_world is None:
            continue
        view = View(number, files["color"], size, colour_k, offset @ inverse_rigid(depth_to_world), name=name)
        builder.add(view, camera="colour")
    if depth:
        builder.views = _with_registered_depth(root, frames, builder.views, depth_k, offset, cache_dir)
    return builder.build("m")


def _find_sequence(root: Path) -> Path:
    """The folder with the frames: ``root``, or the only one below it (down to two levels)."""
    patterns = ("frame-*.pose.txt", "*/frame-*.pose.txt", "*/*/frame-*.pose.txt")
    for pattern in patterns:
        folders = sorted({path.parent for path in root.glob(pattern)})
        if len(folders) == 1:
            return folders[0]
        if folders:
            listing = ", ".join(str(folder.relative_to(root)) for folder in folders)
            raise UserError(root, f"holds {len(folders)} sequences ({listing})", "Give the folder of one sequence")
    raise UserError(root, "holds no frame-XXXXXX.pose.txt", "Give the folder of a 7-Scenes sequence (unzip it first)")


def _frames(root: Path) -> dict[int, dict[str, Path]]:
    """The files of each frame, by frame number and kind (color, depth, pose)."""
    frames: dict[int, dict[str, Path]] = {}
    for path in sorted(root.iterdir()):
        if match := _FILE.fullmatch(path.name):
            frames.setdefault(int(match[1]), {})[match[2].split(".")[0]] = path
    return frames


def _with_registered_depth(
    root: Path,
    frames: dict[int, dict[str, Path]],
    views: list[View],
    depth_k: np.ndarray,
    offset: np.ndarray,
    cache_dir: str | Path | None,
) -> list[View]:
    """The views, with the depth of those that have one rendered into the colour camera."""
    sources = {view.id: frames[view.id]["depth"] for view in views if "depth" in frames[view.id]}
    if not sources:
        return views
    parameters = {
        "depth_intrinsics": depth_k.tolist(),
        "colour_intrinsics": views[0].intrinsics.tolist(),
        "depth_to_colour": offset.tolist(),
        "size": views[0].size,
    }
    folder = cache_folder("registered", sources.values(), parameters, cache_dir, str(root))
    targets, registered = {}, []
    for view in views:
        if view.id not in sources:
            registered.append(view)
            continue
        target = folder / f"{view.id:06d}.depth.png"

        def make(out: Path, source: Path = sources[view.id], view: View = view) -> None:
            raw = read_depth_png(source)
            known = np.where(raw == _UNKNOWN, 0.0, raw * MILLIMETRE)
            metres = register_depth(known, depth_k, offset, view.intrinsics, view.size)
            write_depth_png(out, np.rint(metres / MILLIMETRE).astype(np.uint16))

        targets[target] = make
        registered.append(replace(view, depth_path=target, depth_scale=MILLIMETRE))
    make_missing(targets, "registering depth")
    return registered
