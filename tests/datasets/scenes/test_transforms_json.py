"""What transforms.json may leave out or say in another way."""

import numpy as np
import pytest
import trimesh

from toolbox.datasets.scenes import TransformsScene, open_scene


def test_viewing_angle_and_names_without_suffix(truth, write, edit_json, tmp_path):
    gone = dict.fromkeys(["fl_x", "fl_y", "cx", "cy", "w", "h"])
    path = write.transforms(truth, tmp_path, **gone, camera_angle_x=0.9)

    def drop_suffixes(content):
        for frame in content["frames"]:
            frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")

    edit_json(path, drop_suffixes)
    path = path.rename(tmp_path / "transforms_train.json")
    scene = open_scene(tmp_path)
    focal = 32 / np.tan(0.45)
    np.testing.assert_allclose(scene.views[0].intrinsics, [[focal, 0, 31.5], [0, focal, 23.5], [0, 0, 1]])
    assert len(scene.views) == 6 and scene.views[1].name == "./images/001"


def test_a_frame_can_have_a_camera_of_its_own(truth, write, edit_json, tmp_path):
    path = write.transforms(truth, tmp_path)
    edit_json(path, lambda content: content["frames"][2].update(fl_x=81.5, cx=30.25))
    scene = TransformsScene(path)
    assert scene.view(2).intrinsics[0, 0] == 81.5 and scene.view(2).intrinsics[0, 2] == 29.75
    np.testing.assert_allclose(scene.view(1).intrinsics, truth.intrinsics)


def test_vertical_angle(truth, write, tmp_path):
    path = write.transforms(truth, tmp_path, fl_x=None, fl_y=None, camera_angle_x=0.9, camera_angle_y=0.6)
    k = TransformsScene(path).views[0].intrinsics
    assert k[0, 0] == pytest.approx(32 / np.tan(0.45)) and k[1, 1] == pytest.approx(24 / np.tan(0.3))


def test_sparse_points_of_a_ply(truth, write, tmp_path):
    behind = truth.points[:20] - [0, 0, 20]
    trimesh.PointCloud(np.concatenate((truth.points, behind))).export(tmp_path / "sparse.ply")
    path = write.transforms(truth, tmp_path, ply_file_path="sparse.ply")
    points = TransformsScene(path).points
    assert len(points.xyz) == 200
    np.testing.assert_allclose(points.xyz, truth.points, atol=1e-6)
    for index in range(6):
        pixels = truth.project(index)
        inside = (pixels > -0.5).all(axis=1) & (pixels < (63.5, 47.5)).all(axis=1)
        np.testing.assert_array_equal(points.observed_by(index), inside)
