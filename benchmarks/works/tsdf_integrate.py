"""Depth maps on disk -> TSDF volumes of a scene at three resolutions: the truth of volumetric networks."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenes import room_views
from benchmarks.work import Run, Work
from toolbox.io import read_depth_png, write_depth_png
from toolbox.pipelines.fragment_preparation import integrate_views
from toolbox.structures import View

_DISTINCT = 25  # the rest of a long walk sees the same again
_MAX_DEPTH, _TRUNCATION = 3.0, 3.0


class TSDFIntegrate(Work):
    """NeuralRecon's volumes: voxels of 4, 8 and 16 cm, depths up to 3 m.

    Attributes:
        views: with depth maps as 16-bit PNG files in mm, read in every run.
        voxel_size: of the finest volume, in metres.
    """

    sizes = {
        "tiny": {"frames": 4, "height": 30, "width": 40, "voxel_mm": 160},
        "small": {"frames": 8, "height": 240, "width": 320, "voxel_mm": 60},
        "growth": {"frames": 25, "height": 240, "width": 320, "voxel_mm": 60},
        "user": {"frames": 100, "height": 480, "width": 640, "voxel_mm": 40},
        "scan": {"frames": 1000, "height": 480, "width": 640, "voxel_mm": 40},
    }
    reference_name = "numpy, every voxel of the volume"
    growth = {
        "frames": {n: {"frames": n} for n in (12, 25, 50, 100)},
        "voxels of a side": {n: {"voxel_mm": 9600 // n} for n in (60, 80, 120, 160, 240)},
        "pixels": {h * w: {"height": h, "width": w} for h, w in ((120, 160), (240, 320), (480, 640))},
    }

    def __init__(self, device: str, frames: int, height: int, width: int, voxel_mm: int):
        self.device, self.voxel_size = device, voxel_mm / 1000
        self._folder = tempfile.TemporaryDirectory()  # goes when this object does
        seen = room_views(min(frames, _DISTINCT), height, width)
        paths = [Path(self._folder.name) / f"{i}.png" for i in range(len(seen.depths))]
        for path, depth in zip(paths, seen.depths, strict=True):
            write_depth_png(path, np.rint(1000 * depth).astype(np.uint16))
        self.views = [
            View(
                id=n,
                image_path=paths[n % len(paths)],
                size=(height, width),
                intrinsics=seen.intrinsics[n % len(paths)],
                world_to_cam=seen.world_to_cam[n % len(paths)],
                depth_path=paths[n % len(paths)],
                depth_scale=0.001,
            )
            for n in range(frames)
        ]

    def ours(self) -> Run:
        """``toolbox.pipelines.fragment_preparation.integrate_views``."""

        def run() -> dict[str, Any]:
            volumes = integrate_views(
                self.views, np.eye(4), self.voxel_size, 3, max_depth=_MAX_DEPTH, device=self.device
            )
            return {f"level {level}": volume.tsdf for level, volume in enumerate(volumes)}

        return run

    def reference(self) -> Run:
        """Every voxel projected into every depth map."""
        origin, shape = self.box()

        def run() -> dict[str, Any]:
            shapes = [tuple(-(-n // 2**level) for n in shape) for level in range(3)]
            return {
                f"level {level}": self.integrate(origin, shapes[level], self.voxel_size * 2**level)
                for level in range(3)
            }

        return run

    def box(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """Origin and voxels of the finest volume: all frustums up to the largest depth, in blocks of 8 voxels."""
        corners = []
        for view in self.views:
            height, width = view.size
            pixels = np.array([[0, 0, 1], [0, height, 1], [width, 0, 1], [width, height, 1]])
            in_camera = np.vstack((np.zeros(3), pixels @ np.linalg.inv(view.intrinsics).T * _MAX_DEPTH))
            corners.append((in_camera - view.world_to_cam[:3, 3]) @ view.world_to_cam[:3, :3])
        blocks = np.concatenate(corners) / (8 * self.voxel_size)
        low, high = np.floor(blocks.min(axis=0)), np.ceil(blocks.max(axis=0))
        return low * 8 * self.voxel_size, tuple((8 * (high - low)).astype(int))

    def integrate(self, origin: np.ndarray, shape: tuple[int, ...], voxel_size: float) -> np.ndarray:
        """One volume, frame by frame."""
        truncation = _TRUNCATION * voxel_size
        tsdf, weight = np.ones(shape, np.float32).reshape(-1), np.zeros(shape, np.float32).reshape(-1)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
        for view in self.views:
            depth = (read_depth_png(view.depth_path) * view.depth_scale).astype(np.float32)
            depth[depth > _MAX_DEPTH] = 0
            points = (origin + index * voxel_size) @ view.world_to_cam[:3, :3].T + view.world_to_cam[:3, 3]
            pixels = points @ view.intrinsics.T
            with np.errstate(divide="ignore", invalid="ignore"):
                x, y = np.round(pixels[:, 0] / pixels[:, 2]), np.round(pixels[:, 1] / pixels[:, 2])
            height, width = depth.shape
            inside = (pixels[:, 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            measured = np.zeros(len(index), np.float32)
            measured[inside] = depth[y[inside].astype(int), x[inside].astype(int)]
            distance = measured - points[:, 2]
            update = (measured > 0) & (distance >= -truncation)
            mean = (tsdf * weight + np.minimum(1, distance / truncation)) / (weight + 1)
            tsdf, weight = np.where(update, mean, tsdf), weight + update
        return tsdf.reshape(shape)
