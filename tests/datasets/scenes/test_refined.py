"""Refined poses in place of a scene's own."""

import json

import numpy as np
import pytest

from toolbox.datasets.scenes import RefinedScenes, read_poses, write_poses
from toolbox.errors import UserError


@pytest.fixture
def poses(tabletop_scene) -> dict[int, np.ndarray]:
    """Each view moved by another third of a millimetre: no short decimal number."""
    moved = {view.id: view.world_to_cam.copy() for view in tabletop_scene.views}
    for i, pose in moved.items():
        pose[i % 3, 3] += (i + 1) / 3
    return moved


def test_poses_are_replaced_and_nothing_else(tabletop_scene, poses, tmp_path):
    write_poses(tmp_path / "tabletop" / "poses.json", poses)
    (refined,) = RefinedScenes(tabletop_scene, tmp_path)
    for own, view in zip(tabletop_scene.views, refined.views, strict=True):
        np.testing.assert_array_equal(view.world_to_cam, poses[own.id])
        assert not np.array_equal(view.world_to_cam, own.world_to_cam)
        assert view.intrinsics is own.intrinsics and view.image_path == own.image_path


def test_scenes_may_share_poses(tabletop_scene, poses, tmp_path):
    write_poses(tmp_path / "table" / "poses.json", poses)
    (refined,) = RefinedScenes(tabletop_scene, tmp_path, shared="(table)top")
    np.testing.assert_array_equal(refined.views[1].world_to_cam, poses[refined.views[1].id])


def test_mistakes_are_named(tabletop_scene, poses, tmp_path):
    path = tmp_path / "tabletop" / "poses.json"
    with pytest.raises(UserError, match="cannot be read"):
        RefinedScenes(tabletop_scene, tmp_path)
    del poses[2]
    write_poses(path, poses)
    with pytest.raises(UserError, match="no pose for 1 views of 'tabletop': 2"):
        RefinedScenes(tabletop_scene, tmp_path)
    for content, fault in (
        ("{", "holds no poses"),
        ("[]", "holds no poses"),
        (json.dumps({"world_to_cam": {"0": [[1, 2], [3]]}}), "holds no poses"),
        (json.dumps({"world_to_cam": {"0": [[1, 2], [3, 4]]}}), "no 4 x 4 matrix for view 0"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=fault):
            read_poses(path)
