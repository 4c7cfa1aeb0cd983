"""Warping and distances to meshes, shared by the tests of both layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open3d as o3d
import pytest
import torch

from toolbox.geometry import project, transform_points, unproject, warp_to_reference

View = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def warp_error() -> Callable[[View, View], tuple[np.ndarray, np.ndarray]]:
    """Grey difference (0..1) of a reference and a source warped by depth, and where both see the same point.

    A view is (image, depth, intrinsics, world_to_cam).
    """

    def compare(reference: View, source: View, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        image, depth, *cameras = (torch.from_numpy(part)[None] for part in reference)
        other_image, other_depth, *other_cameras = (torch.from_numpy(part)[None] for part in source)
        stacked = torch.cat((other_image.permute(0, 3, 1, 2).float() / 255, other_depth[:, None]), dim=1)
        warped, valid = warp_to_reference(stacked, scale * depth[:, None], *cameras, *other_cameras)
        points = unproject(depth.double(), cameras[0]).reshape(1, -1, 3)
        relative = other_cameras[1] @ torch.linalg.inv(cameras[1])
        _, expected = project(transform_points(relative, points), other_cameras[0])
        seen = (warped[0, 3, 0] / expected.reshape(depth.shape[1:]) - 1).abs() < 2e-3
        same = valid[0, 0] & (depth[0] > 0) & seen
        grey, other_grey = image[0].float().mean(dim=-1) / 255, warped[0, :3, 0].mean(dim=0)
        # Exposures differ from image to image.
        gain = (grey[same] / other_grey[same].clamp(min=0.02)).median()
        return (gain * other_grey - grey).abs().numpy(), same.numpy()

    return compare


@pytest.fixture(scope="session")
def distance_to_mesh() -> Callable[[Path, np.ndarray], np.ndarray]:
    """Distances of (n, 3) points to the surface of a mesh file."""

    def distances(path: Path, points: np.ndarray) -> np.ndarray:
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(o3d.t.io.read_triangle_mesh(str(path)))
        return scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()

    return distances
