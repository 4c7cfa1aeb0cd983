"""Tabletops in the layout of DTU as MVSNet and CVP-MVSNet lay it out."""

from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from toolbox.datasets.view_selection import angle_weight
from toolbox.io import CamFile, write_cam_txt, write_image, write_pair_txt, write_pfm, write_ply

from .folder import Parameters, open_folder, run_all
from .render import Renderer, in_frame
from .rigs import Camera, dome_rig
from .sensor import Sensor
from .tabletop import OBJECTS_RADIUS, build_tabletop, triangle_edge

DEPTH_MIN, DEPTH_MAX, NUM_DEPTHS = 425.0, 935.0, 192
"""DTU's depth range in millimetres, and MVSNet's number of planes."""

_INTERVAL = (DEPTH_MAX - DEPTH_MIN) / (NUM_DEPTHS - 1)
_NUM_SOURCES = 10

_README = """Procedural tabletops in the layout of DTU (MVSNet's and CVP-MVSNet's form). Millimetres.

Cameras/{view:08d}_cam.txt   world to camera, intrinsics, 'depth_min interval num max'; shared by all scans
Cameras/pair.txt             source views of each view, best first, with MVSNet's score
Rectified/scanN_train/rect_{view + 1:03d}_{lighting}_r5000.png
Depths/scanN_train/depth_map_{view:04d}.pfm   z-depth at the pixel centres, exact; 0 where there is no surface
Meshes/scanN.ply             the surface that at least one view sees
scanN/{images,cams,depth_gt,pair.txt}   held-out scans in MVSNet's test form, under the diffuse lighting
synthetic.json               what decides all of it

A pixel's centre has integer coordinates. Everything here is made up; no photograph went into it.
"""


def make_dtu_scenes(
    out: str | Path,
    scenes: int,
    views: int,
    seed: int,
    size: tuple[int, int] = (480, 640),
    lightings: int = 7,
    test_scenes: int = 0,
    workers: int | None = None,
) -> None:
    """Write procedural tabletops in the layout of DTU, in millimetres, with depth and mesh.

    Scans 1 to ``scenes`` are for training, the ``test_scenes`` after them in MVSNet's test form. All share one camera
    rig. Files that exist are kept: an interrupted run is continued by repeating it.

    Args:
        out: a new or empty folder, or the same data set begun before.
        views: of every scan.
        seed: decides everything; the same seed gives the same bytes, however many workers there are.
        size: (height, width) of images and depth maps.
        lightings: 1 to 7 images of every view; the middle one (3 of 7) is diffuse.
        workers: threads; None for one per processor.

    Raises:
        UserError: a number is out of range, or the folder holds something else.
    """
    out = Path(out)
    parameters = Parameters("dtu", seed, scenes, views, *size, lightings, test_scenes)
    open_folder(out, parameters, _README)
    cameras = dome_rig(np.random.default_rng([seed, 0]), views, size)
    pairs = pair_scores(cameras)
    if scenes:
        write_pair_txt(out / "Cameras" / "pair.txt", pairs)
        for view, camera in enumerate(cameras):
            write_cam_txt(out / "Cameras" / f"{view:08d}_cam.txt", _cam_file(camera))
    with tqdm(total=views * (scenes * lightings + test_scenes), unit="image", desc="tabletops") as bar:
        for number in range(1, scenes + test_scenes + 1):
            scan = _TrainingScan if number <= scenes else _TestScan
            scan(out, number, parameters, cameras, pairs).write(bar, workers)


class _Scan(ABC):
    """One scan of the data set; knows what to render, and leaves the files to its two kinds."""

    def __init__(self, out: Path, number: int, parameters: Parameters, cameras: list[Camera], pairs: dict):
        self.out, self.number, self.parameters = out, number, parameters
        self.cameras, self.pairs = cameras, pairs
        self.lights = list(range(parameters.lightings))
        self.mesh_path = out / "Meshes" / f"scan{number}.ply"

    @abstractmethod
    def image_path(self, view: int, light: int) -> Path:
        """Where the image of a view under a lighting goes."""

    @abstractmethod
    def depth_path(self, view: int) -> Path:
        """Where the depth map of a view goes."""

    def write(self, bar: tqdm, workers: int | None) -> None:
        """Render and write what is missing."""
        missing = [view for view in range(len(self.cameras)) if not self._is_complete(view)]
        bar.update((len(self.cameras) - len(missing)) * len(self.lights))
        if not missing and self.mesh_path.is_file():
            return
        scene = np.random.default_rng([self.parameters.seed, 1, self.number])
        edge = triangle_edge(float(self.cameras[0].intrinsics[0, 0]))
        renderer = Renderer(build_tabletop(scene, self.parameters.lightings, edge))
        run_all([partial(self._render, renderer, view) for view in missing], workers, bar, len(self.lights))
        shape, rgb = renderer.visible_mesh(self.cameras)
        write_ply(self.mesh_path, shape.vertices, rgb, triangles=shape.triangles)

    def _is_complete(self, view: int) -> bool:
        return self.depth_path(view).is_file() and all(self.image_path(view, light).is_file() for light in self.lights)

    def _render(self, renderer: Renderer, view: int) -> None:
        rendering = renderer.render(self.cameras[view], self.lights)
        for light, radiance in zip(self.lights, rendering.radiance, strict=True):
            noise = np.random.default_rng([self.parameters.seed, 2, self.number, view, light])
            write_image(self.image_path(view, light), Sensor().photograph(radiance, noise))
        write_pfm(self.depth_path(view), rendering.depth)


class _TrainingScan(_Scan):
    """``Rectified/scanN_train``, ``Depths/scanN_train``."""

    def image_path(self, view: int, light: int) -> Path:
        return self.out / "Rectified" / f"scan{self.number}_train" / f"rect_{view + 1:03d}_{light}_r5000.png"

    def depth_path(self, view: int) -> Path:
        return self.out / "Depths" / f"scan{self.number}_train" / f"depth_map_{view:04d}.pfm"


class _TestScan(_Scan):
    """``scanN/{images,cams,depth_gt,pair.txt}``, under the diffuse lighting only."""

    def __init__(self, out: Path, number: int, parameters: Parameters, cameras: list[Camera], pairs: dict):
        super().__init__(out, number, parameters, cameras, pairs)
        self.lights = [parameters.lightings // 2]
        self.folder = out / f"scan{number}"

    def image_path(self, view: int, light: int) -> Path:
        return self.folder / "images" / f"{view:08d}.jpg"

    def depth_path(self, view: int) -> Path:
        return self.folder / "depth_gt" / f"{view:08d}.pfm"

    def write(self, bar: tqdm, workers: int | None) -> None:
        """Render and write what is missing, and the cameras."""
        write_pair_txt(self.folder / "pair.txt", self.pairs)
        for view, camera in enumerate(self.cameras):
            write_cam_txt(self.folder / "cams" / f"{view:08d}_cam.txt", _cam_file(camera))
        super().write(bar, workers)


def _cam_file(camera: Camera) -> CamFile:
    return CamFile(camera.world_to_cam, camera.intrinsics, DEPTH_MIN, _INTERVAL, NUM_DEPTHS, DEPTH_MAX)


def pair_scores(cameras: list[Camera]) -> dict[int, list[tuple[int, float]]]:
    """Source views of each camera, best first, by MVSNet's score over points on and above the table."""
    points = np.random.default_rng(0).uniform([-1, -1, 0], [1, 1, 0.6], (500, 3)) * OBJECTS_RADIUS
    points = points[np.hypot(points[:, 0], points[:, 1]) < OBJECTS_RADIUS]
    visible = np.stack([in_frame(camera, points.astype(np.float32)) for camera in cameras])
    rays = np.stack([points - camera.centre for camera in cameras])
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    pairs = {}
    for reference in range(len(cameras)):
        angles = np.degrees(np.arccos(np.clip((rays[reference] * rays).sum(axis=2), -1, 1)))
        scores = (angle_weight(angles) * (visible[reference] & visible)).sum(axis=1)
        order = [int(k) for k in np.argsort(-scores, kind="stable") if k != reference][:_NUM_SOURCES]
        pairs[reference] = [(k, round(float(scores[k]), 4)) for k in order]
    return pairs
