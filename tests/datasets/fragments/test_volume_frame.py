from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from toolbox.datasets.fragments import estimate_up, world_to_volume
from toolbox.errors import UserError
from toolbox.structures import Scene, View


def held_cameras(to_world: np.ndarray, headings: np.ndarray, height: float = 1.4, pitch: float = -20.0) -> np.ndarray:
    """world_to_cam of cameras held level that look down a little, in a world turned by ``to_world`` (3, 3)."""
    poses = []
    for k, heading in enumerate(headings):
        # Camera axes in a z-up frame: y of the image down, then tilted, then turned to the heading.
        level = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
        rotation = Rotation.from_euler("ZX", [heading, pitch], degrees=True).as_matrix() @ level
        pose = np.eye(4)
        pose[:3, :3] = (to_world @ rotation).T
        pose[:3, 3] = -pose[:3, :3] @ (to_world @ np.array([0.1 * k, 2.0, height]) + (3.0, 4.0, 5.0))
        poses.append(pose)
    return np.stack(poses)


def as_scene(poses: np.ndarray) -> Scene:
    intrinsics = np.array([[50.0, 0, 31], [0, 52.0, 25], [0, 0, 1]])
    return Scene("s", [View(k, Path("none.png"), (48, 64), intrinsics, pose) for k, pose in enumerate(poses)], unit="m")


@pytest.mark.parametrize("seed", range(4))
def test_up_is_found_in_a_turned_world(seed):
    to_world = Rotation.random(random_state=seed).as_matrix()
    up = estimate_up(held_cameras(to_world, np.linspace(0, 120, 12)))
    np.testing.assert_allclose(up, to_world[:, 2], atol=2e-2)


def test_up_from_one_heading_leans_with_the_camera():
    to_world = Rotation.random(random_state=7).as_matrix()
    up = estimate_up(held_cameras(to_world, np.zeros(5)))
    assert np.degrees(np.arccos(up @ to_world[:, 2])) == pytest.approx(20, abs=0.1)


def test_upright_worlds_are_kept():
    """The cameras are 1.4 m above the floor."""
    poses = held_cameras(np.eye(3), np.linspace(0, 90, 8))
    poses[:, :3, 3] += poses[:, :3, 2] * 5  # down by the 5 m that all these worlds are moved by
    scene = as_scene(poses)
    np.testing.assert_array_equal(world_to_volume(scene), np.eye(4))
    moved = world_to_volume(scene, "cameras", camera_height=1.6)
    heights = [moved[2] @ np.append(view.centre, 1) for view in scene.views]
    assert np.median(heights) == pytest.approx(1.6)


def test_upright_worlds_with_the_floor_elsewhere_are_moved():
    transform = world_to_volume(as_scene(held_cameras(np.eye(3), np.linspace(0, 90, 8))))
    expected = np.eye(4)
    expected[2, 3] = 1.5 - 6.4
    np.testing.assert_allclose(transform, expected, atol=1e-9)


def test_other_worlds_are_turned():
    to_world = Rotation.from_euler("xy", [-95, 10], degrees=True).as_matrix()
    scene = as_scene(held_cameras(to_world, np.linspace(0, 120, 12)))
    transform = world_to_volume(scene)
    np.testing.assert_allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(transform[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(transform[:3, :3] @ to_world[:, 2], (0, 0, 1), atol=2e-2)
    assert np.median([transform[2] @ np.append(view.centre, 1) for view in scene.views]) == pytest.approx(1.5)
    np.testing.assert_array_equal(world_to_volume(scene, "world"), np.eye(4))
    with pytest.raises(UserError, match="orientation"):
        world_to_volume(scene, "up")
