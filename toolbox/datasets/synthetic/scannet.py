"""Furnished rooms in the layout of ScanNet's exported folders."""

from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from toolbox.io import write_depth_png, write_image, write_ply, write_text

from .folder import Parameters, open_folder, run_all
from .render import Renderer
from .rigs import Camera, handheld_rig
from .room import FURNITURE_DEPTH, build_room
from .sensor import Sensor

MILLIMETRES = 1000.0
"""Stored depth values per metre."""

_README = """Procedural rooms in the layout of ScanNet's exported folders. Metres; z is up.

sceneXXXX_00/color/{i}.jpg         a hand-held walk, in order
sceneXXXX_00/depth/{i}.png         16 bit, millimetres, of the colour camera: z-depth at the pixel centres; 0 = none
sceneXXXX_00/pose/{i}.txt          camera to world, OpenCV axes
sceneXXXX_00/intrinsic/*.txt       4 x 4; colour and depth are one camera
sceneXXXX_00/sceneXXXX_00_vh_clean_2.ply   the surface that at least one view sees
synthetic.json                     what decides all of it

A pixel's centre has integer coordinates. Everything here is made up; no photograph went into it.
"""


def make_scannet_scenes(
    out: str | Path,
    scenes: int,
    views: int,
    seed: int,
    size: tuple[int, int] = (480, 640),
    workers: int | None = None,
) -> None:
    """Write procedural rooms in the layout of ScanNet, in metres, with depth and mesh.

    Files that exist are kept: an interrupted run is continued by repeating it.

    Args:
        out: a new or empty folder, or the same data set begun before.
        views: of every room; 100 go around it once.
        seed: decides everything; the same seed gives the same bytes, however many workers there are.
        size: (height, width) of images and depth maps.
        workers: threads; None for one per processor.

    Raises:
        UserError: a number is out of range, or the folder holds something else.
    """
    out = Path(out)
    parameters = Parameters("scannet", seed, scenes, views, *size)
    open_folder(out, parameters, _README)
    with tqdm(total=views * scenes, unit="image", desc="rooms") as bar:
        for number in range(scenes):
            _write_scene(out / f"scene{number:04d}_00", number, parameters, bar, workers)


def _write_scene(folder: Path, number: int, parameters: Parameters, bar: tqdm, workers: int | None) -> None:
    mesh_path = folder / f"{folder.name}_vh_clean_2.ply"
    missing = [view for view in range(parameters.views) if not all(path.is_file() for path in _paths(folder, view))]
    bar.update(parameters.views - len(missing))
    if not missing and mesh_path.is_file():
        return
    rng = np.random.default_rng([parameters.seed, 3, number])
    room = build_room(rng)
    size = (parameters.height, parameters.width)
    cameras = handheld_rig(rng, parameters.views, size, room.extent, FURNITURE_DEPTH + 0.15)
    _write_intrinsics(folder / "intrinsic", cameras[0])
    renderer = Renderer(room.model)
    seeds = [[parameters.seed, 4, number, view] for view in range(parameters.views)]
    tasks = [partial(_write_view, folder, renderer, cameras[view], view, seeds[view]) for view in missing]
    run_all(tasks, workers, bar, 1)
    shape, rgb = renderer.visible_mesh(cameras)
    write_ply(mesh_path, shape.vertices, rgb, triangles=shape.triangles)


def _paths(folder: Path, view: int) -> tuple[Path, Path, Path]:
    """Files of a view: colour, depth, pose."""
    return folder / "color" / f"{view}.jpg", folder / "depth" / f"{view}.png", folder / "pose" / f"{view}.txt"


def _write_view(folder: Path, renderer: Renderer, camera: Camera, view: int, seed: list[int]) -> None:
    colour, depth, pose = _paths(folder, view)
    rendering = renderer.render(camera, [0])
    write_image(colour, Sensor().photograph(rendering.radiance[0], np.random.default_rng(seed)))
    write_depth_png(depth, np.round(rendering.depth * MILLIMETRES).astype(np.uint16))
    write_text(pose, _matrix_text(np.linalg.inv(camera.world_to_cam)))


def _write_intrinsics(folder: Path, camera: Camera) -> None:
    intrinsics = np.eye(4)
    intrinsics[:3, :3] = camera.intrinsics
    for kind in ("color", "depth"):
        write_text(folder / f"intrinsic_{kind}.txt", _matrix_text(intrinsics))
        write_text(folder / f"extrinsic_{kind}.txt", _matrix_text(np.eye(4)))


def _matrix_text(matrix: np.ndarray) -> str:
    return "".join(" ".join(f"{value:.9f}" for value in row) + "\n" for row in matrix)
