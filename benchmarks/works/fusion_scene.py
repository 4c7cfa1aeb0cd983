"""Depth maps of a scene -> geometric consistency filter -> point cloud."""

from typing import Any

import cv2
import numpy as np

from benchmarks.scenes import table_views
from benchmarks.work import Run, Work
from toolbox.fusion import DTU, FusionView, fuse_by_consistency


class FusionScene(Work):
    """The published DTU settings: 10 sources, 0.5 px, 1 %, at least 3 views, a point for each pixel.

    Attributes:
        seen: images, depths (with noise and outliers) and cameras.
        confidence: (v, h, w).
        sources: for each view its source views.
    """

    sizes = {
        "tiny": {"views": 6, "height": 30, "width": 40, "sources": 4},
        "small": {"views": 12, "height": 240, "width": 320, "sources": 10},
        "user": {"views": 49, "height": 480, "width": 640, "sources": 10},
    }
    reference_name = "numpy, view by view"
    growth = {
        "views": {n: {"views": n} for n in (12, 24, 48, 96)},
        "pixels": {h * w: {"height": h, "width": w} for h, w in ((120, 160), (240, 320), (480, 640))},
        "sources": {n: {"sources": n} for n in (3, 5, 8, 11)},
    }

    def __init__(self, device: str, views: int, height: int, width: int, sources: int):
        self.device, self.seen = device, table_views(views, height, width)
        rng = np.random.default_rng(5)
        self.depths = self.seen.depths + rng.normal(0, 0.3, self.seen.depths.shape).astype(np.float32)
        self.depths[rng.random(self.depths.shape) < 0.1] += 40
        self.confidence = rng.uniform(0.8, 1.0, self.depths.shape).astype(np.float32)
        self.sources = self.seen.nearest(min(sources, views - 1))

    def ours(self) -> Run:
        """``toolbox.fusion.fuse_by_consistency``."""
        seen = self.seen
        views = [
            FusionView(
                i,
                seen.intrinsics[i],
                seen.world_to_cam[i],
                depth=lambda i=i: self.depths[i],
                confidence=lambda i=i: self.confidence[i],
                image=lambda i=i: seen.images[i],
            )
            for i in range(len(self.depths))
        ]

        def run() -> dict[str, Any]:
            cloud, counts = fuse_by_consistency(views, self.sources, DTU, device=self.device)
            return {"kept": np.array([c.consistent for c in counts]), "mean": cloud.xyz.mean(axis=0)}

        return run

    def reference(self) -> Run:
        """A reprojection of whole maps in numpy for each pair of views."""

        def run() -> dict[str, Any]:
            points, colours, kept = [], [], []
            for i in range(len(self.depths)):
                masks, returned = zip(*(self.agreement(i, j) for j in self.sources[i]), strict=True)
                count = sum(mask.astype(np.int32) for mask in masks)
                mean = (sum(returned) + self.depths[i]) / (count + 1)
                mask = (self.confidence[i] > DTU.min_confidence) & (count >= DTU.min_views)
                points.append(_to_world(mean, self.seen.intrinsics[i], self.seen.world_to_cam[i])[mask])
                colours.append(self.seen.images[i][mask])
                kept.append(mask.sum())
            np.concatenate(colours)
            return {"kept": np.array(kept), "mean": np.concatenate(points).mean(axis=0)}

        return run

    def agreement(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Where source j agrees with reference i, and the depth that it gives there, 0 elsewhere."""
        seen, depth = self.seen, self.depths[i]
        x_src, y_src, _ = _to_pixels(
            _to_world(depth, seen.intrinsics[i], seen.world_to_cam[i]), seen.intrinsics[j], seen.world_to_cam[j]
        )
        x_src, y_src = x_src.astype(np.float32), y_src.astype(np.float32)
        sampled = cv2.remap(self.depths[j], x_src, y_src, interpolation=cv2.INTER_LINEAR)
        world = _to_world(sampled, seen.intrinsics[j], seen.world_to_cam[j], x_src, y_src)
        x, y, returned = _to_pixels(world, seen.intrinsics[i], seen.world_to_cam[i])
        x_ref, y_ref = np.meshgrid(np.arange(depth.shape[1]), np.arange(depth.shape[0]))
        displacement = np.sqrt((x - x_ref) ** 2 + (y - y_ref) ** 2)
        difference = np.abs(returned - depth) / depth
        mask = (displacement < DTU.max_reprojection_px) & (difference < DTU.max_relative_depth)
        return mask, np.where(mask, returned, 0)


def _to_world(depth, intrinsics, world_to_cam, x=None, y=None) -> np.ndarray:
    """Points (h, w, 3) of pixels at their depths."""
    if x is None:
        x, y = np.meshgrid(np.arange(depth.shape[1]), np.arange(depth.shape[0]))
    pixels = np.vstack((x.reshape(-1), y.reshape(-1), np.ones(depth.size)))
    in_camera = np.matmul(np.linalg.inv(intrinsics), pixels * depth.reshape(-1))
    world = np.matmul(np.linalg.inv(world_to_cam), np.vstack((in_camera, np.ones(depth.size))))[:3]
    return world.T.reshape(*depth.shape, 3)


def _to_pixels(points, intrinsics, world_to_cam) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and depth (h, w) of world points."""
    flat = np.vstack((points.reshape(-1, 3).T, np.ones(points[..., 0].size)))
    projected = np.matmul(intrinsics, np.matmul(world_to_cam, flat)[:3])
    shape = points.shape[:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = projected[0] / projected[2], projected[1] / projected[2]
    return x.reshape(shape), y.reshape(shape), projected[2].reshape(shape)
