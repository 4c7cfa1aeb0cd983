"""Sparse points from poses and images alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolbox.datasets.depth_ranges import depth_range_for
from toolbox.datasets.scenes import triangulate_sparse_points
from toolbox.datasets.scenes.triangulation import epipolar_distance, triangulate
from toolbox.errors import UserError
from toolbox.io import write_image
from toolbox.structures import Scene, View

K = np.array([[300.0, 0, 150.5], [0, 290.0, 121.5], [0, 0, 1]])
SIZE = (240, 320)
NORMAL = np.array([0.15, -0.1, 1.0]) / 4.0  # the plane {X: NORMAL . X = 1}, four units away


def world_to_cam(k: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.02 * k, -0.06 * (k - 1.5), 0.03]))[0]
    pose[:3, 3] = -pose[:3, :3] @ np.array([0.25 * (k - 1.5), 0.05 * k, 0.1 * (k % 2)])
    return pose


def plane_scene(folder: Path, poses: list[np.ndarray]) -> Scene:
    """Views of a textured plane, exact by homography from a large picture of it."""
    noise = np.random.default_rng(1).normal(size=(600, 800, 3)).astype(np.float32)
    blobs = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (2, 5, 11))
    texture = np.clip(127 + 90 * blobs / blobs.std(), 0, 255).astype(np.uint8)
    # The picture is what a camera at the origin with this matrix sees of the plane.
    picture_k = np.array([[300.0, 0, 400.0], [0, 290.0, 300.0], [0, 0, 1]])
    views = []
    for k, pose in enumerate(poses):
        homography = K @ (pose[:3, :3] + np.outer(pose[:3, 3], NORMAL)) @ np.linalg.inv(picture_k)
        path = folder / f"{k}.png"
        write_image(path, cv2.warpPerspective(texture, homography, SIZE[::-1], flags=cv2.INTER_LINEAR))
        views.append(View(10 + k, path, SIZE, K, pose, name=path.name))
    return Scene("plane", views)


def test_points_lie_on_the_plane(tmp_path):
    scene = plane_scene(tmp_path, [world_to_cam(k) for k in range(4)])
    points = triangulate_sparse_points(scene, max_size=256, progress=False)
    distance = np.abs(points.xyz @ NORMAL - 1) / np.linalg.norm(NORMAL)
    assert len(points.xyz) > 100
    assert np.median(distance) < 0.02 and np.percentile(distance, 95) < 0.1
    assert max(len(ids) for ids in points.view_ids) == 4
    assert {int(i) for ids in points.view_ids for i in ids} == {10, 11, 12, 13}
    again = triangulate_sparse_points(scene, max_size=256, progress=False)
    np.testing.assert_array_equal(points.xyz, again.xyz)
    scene.points = points
    near, far = depth_range_for(scene, 11)
    assert 2.0 < near < 3.9 and 4.1 < far < 8.0


def test_wrong_poses_give_no_points(tmp_path):
    scene = plane_scene(tmp_path, [np.eye(4)] * 3)
    with pytest.raises(UserError, match=r"scene 'plane': gave no triangulated point \(0 matches"):
        triangulate_sparse_points(scene, progress=False)


def test_linear_triangulation_and_epipolar_distance():
    rng = np.random.default_rng(2)
    xyz = rng.uniform(-1, 1, (30, 3)) + np.array([0, 0, 4])
    projections = np.stack([K @ world_to_cam(k)[:3] for k in range(3)])
    projected = np.einsum("vij,nj->nvi", projections, np.concatenate((xyz, np.ones((30, 1))), axis=1))
    xy = projected[..., :2] / projected[..., 2:]
    np.testing.assert_allclose(triangulate(np.broadcast_to(projections, (30, 3, 3, 4)), xy), xyz, atol=1e-9)
    assert epipolar_distance(projections[0], projections[2], xy[:, 0], xy[:, 2]).max() < 1e-8
    # A move along the normal of the epipolar line is that distance, one along the line is none.
    fundamental_line = np.cross(xy_homogeneous(xy[:, 2]), xy_homogeneous(epipole(projections[0], projections[2])))
    normal = fundamental_line[:, :2] / np.linalg.norm(fundamental_line[:, :2], axis=1, keepdims=True)
    moved = epipolar_distance(projections[0], projections[2], xy[:, 0], xy[:, 2] + 3.0 * normal)
    assert (moved > 2.99).all()
    along = np.stack((-normal[:, 1], normal[:, 0]), axis=1)
    assert epipolar_distance(projections[0], projections[2], xy[:, 0], xy[:, 2] + 3.0 * along).max() < 1e-8


def xy_homogeneous(xy: np.ndarray) -> np.ndarray:
    xy = np.atleast_2d(xy)
    return np.concatenate((xy, np.ones((len(xy), 1))), axis=1)


def epipole(p_a: np.ndarray, p_b: np.ndarray) -> np.ndarray:
    centre = np.append(-np.linalg.solve(p_a[:, :3], p_a[:, 3]), 1.0)
    projected = p_b @ centre
    return projected[:2] / projected[2]
