import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from toolbox.datasets.fragments import KeyframeRule, rotation_angle, select_keyframes, split_fragments
from toolbox.errors import UserError


def pose(angles=(0.0, 0, 0), centre=(0.0, 0, 0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = -matrix[:3, :3] @ np.array(centre)
    return matrix


@pytest.mark.parametrize("degrees", [1e-6, 0.5, 14.9, 15.1, 90.0, 179.9999])
def test_rotation_angle(degrees):
    axis = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix() @ pose((20, 30, 40))[:3, :3]
    assert rotation_angle(pose((20, 30, 40)), turned) == pytest.approx(degrees, rel=1e-6)


def test_frames_that_moved_are_keyframes():
    # 3 cm a frame: more than 10 cm after four frames.
    poses = [pose(centre=(5 + 0.03 * k, 7, 9)) for k in range(10)]
    assert select_keyframes(poses, KeyframeRule()) == [0, 4, 8]
    assert select_keyframes(poses, KeyframeRule(min_distance=0.05)) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_frames_that_turned_are_keyframes(axis):
    """About the viewing direction, too."""
    poses = [pose(angles=4.0 * k * np.eye(3)[axis], centre=(1, 2, 3)) for k in range(10)]
    assert select_keyframes(poses, KeyframeRule()) == [0, 4, 8]


def test_limits_are_strict_and_count_from_the_last_keyframe():
    """There and back again is no move."""
    poses = [pose(centre=(x, 0, 0)) for x in (0, 0.0625, 0, 0.0625, 0.125, 0.1875, 0.25)]
    assert select_keyframes(poses, KeyframeRule(min_distance=0.125)) == [0, 5]


def test_fragments_and_what_is_left_over():
    rule = KeyframeRule(views=3)
    assert split_fragments([1, 2, 4, 5, 8, 9, 10, 12], rule) == ([[1, 2, 4], [5, 8, 9]], [10, 12])
    rest = KeyframeRule(views=3, keep_rest=True)
    assert split_fragments([1, 2, 4, 5, 8, 9, 10, 12], rest) == ([[1, 2, 4], [5, 8, 9], [9, 10, 12]], [])
    assert split_fragments([1, 2, 4, 5, 8, 9], rest) == ([[1, 2, 4], [5, 8, 9]], [])
    assert split_fragments([1, 2], rest) == ([], [1, 2])


@pytest.mark.parametrize("wrong", [{"views": 0}, {"min_distance": -1.0}, {"min_angle_degrees": -1.0}])
def test_senseless_rules(wrong):
    with pytest.raises(UserError, match="makes no sense"):
        KeyframeRule(**wrong)
