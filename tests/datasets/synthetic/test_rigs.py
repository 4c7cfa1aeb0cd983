"""Cameras on the dome and in the hand."""

from itertools import pairwise

import numpy as np
import pytest

from toolbox.datasets.synthetic.rigs import dome_rig, handheld_rig, look_at


def turn_between(first, second) -> float:
    relative = first.world_to_cam[:3, :3] @ second.world_to_cam[:3, :3].T
    return float(np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1))))


def test_look_at():
    centre, target = np.array([3.0, -2.0, 5.0]), np.array([0.5, 1.0, 0.2])
    world_to_cam = look_at(centre, target)
    np.testing.assert_allclose(world_to_cam[:3, :3] @ world_to_cam[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(world_to_cam[:3, :3]) == pytest.approx(1)
    seen = world_to_cam @ [*target, 1]
    np.testing.assert_allclose(seen[:2], 0, atol=1e-12)
    assert seen[2] == pytest.approx(np.linalg.norm(target - centre))
    # What is above the target is up in the image, that is, at a smaller y.
    assert (world_to_cam @ [0.5, 1.0, 1.2, 1])[1] < 0


@pytest.mark.parametrize("views", [1, 3, 7, 25, 49])
def test_dome(views):
    cameras = dome_rig(np.random.default_rng(views), views, (120, 160))
    assert len(cameras) == views
    centres = np.array([camera.centre for camera in cameras])
    distance = np.linalg.norm(centres - [0, 0, 60], axis=1)
    assert ((distance > 667) & (distance < 677)).all()
    elevation = np.degrees(np.arcsin((centres[:, 2] - 60) / distance))
    assert elevation.min() > 15
    assert elevation.max() < 75
    # Consecutive cameras overlap, and have a baseline.
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert ((steps > 60) & (steps < 180)).all()


def test_handheld_walk_is_smooth_and_stays_inside():
    extent = (5.0, 4.0, 2.5)
    cameras = handheld_rig(np.random.default_rng(3), 240, (120, 160), extent, 1.15)
    centres = np.array([camera.centre for camera in cameras])
    assert (centres[:, :2] > 1.1).all()
    assert (centres[:, 0] < 3.9).all()
    assert (centres[:, 1] < 2.9).all()
    assert ((centres[:, 2] > 1.2) & (centres[:, 2] < 1.8)).all()
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert 0.01 < np.median(steps) < 0.1
    assert steps.max() < 0.2
    turns = [turn_between(*pair) for pair in pairwise(cameras)]
    assert 1 < np.median(turns) < 6
    assert max(turns) < 10


def test_intrinsics_are_not_symmetric():
    (fx, _, cx), (_, fy, cy), _ = dome_rig(np.random.default_rng(1), 1, (120, 160))[0].intrinsics
    assert fx != fy
    assert abs(cx - 79.5) > 0.5
    assert abs(cy - 59.5) > 0.5
