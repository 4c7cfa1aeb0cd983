"""Any format from a config, and depth ranges where the source tells none."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolbox.datasets import build_scenes
from toolbox.datasets.depth_ranges import depth_range_for
from toolbox.datasets.scenes import any_scene, with_depth_ranges
from toolbox.errors import UserError
from toolbox.io import write_image, write_json

K = np.array([[300.0, 0, 150.5], [0, 290.0, 121.5], [0, 0, 1]])
NORMAL = np.array([0.15, -0.1, 1.0]) / 4.0  # the plane {X: NORMAL . X = 1}, four units away


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    """A folder with photographs of a textured plane, poses and nothing else."""
    noise = np.random.default_rng(1).normal(size=(600, 800, 3)).astype(np.float32)
    blobs = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (2, 5, 11))
    texture = np.clip(127 + 90 * blobs / blobs.std(), 0, 255).astype(np.uint8)
    picture_k = np.array([[300.0, 0, 400.0], [0, 290.0, 300.0], [0, 0, 1]])
    views = []
    for k in range(4):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(np.array([0.02 * k, -0.06 * (k - 1.5), 0.03]))[0]
        pose[:3, 3] = -pose[:3, :3] @ np.array([0.25 * (k - 1.5), 0.05 * k, 0.1 * (k % 2)])
        homography = K @ (pose[:3, :3] + np.outer(pose[:3, 3], NORMAL)) @ np.linalg.inv(picture_k)
        write_image(tmp_path / "plane" / f"{k}.png", cv2.warpPerspective(texture, homography, (320, 240)))
        views.append({"id": 5 * k, "image": f"{k}.png", "world_to_cam": pose.tolist()})
    write_json(tmp_path / "plane" / "cameras.json", {"intrinsics": K.tolist(), "views": views})
    return tmp_path / "plane"


@pytest.fixture
def triangulations(monkeypatch) -> list[str]:
    """Names of the scenes that were triangulated."""
    names, original = [], any_scene.triangulate_sparse_points

    def counted(scene):
        names.append(scene.name)
        return original(scene, progress=False)

    monkeypatch.setattr(any_scene, "triangulate_sparse_points", counted)
    return names


def test_ranges_are_triangulated_once(plane, triangulations, tmp_path):
    config = {"type": "AnyScene", "path": plane, "cache_dir": tmp_path / "cache"}
    (first,), (second,) = build_scenes(config), build_scenes(config)
    assert triangulations == ["plane"]
    np.testing.assert_array_equal(first.points.xyz, second.points.xyz)
    assert [list(ids) for ids in first.points.view_ids] == [list(ids) for ids in second.points.view_ids]
    near, far = depth_range_for(second, 5)
    assert 2.0 < near < 3.9 and 4.1 < far < 8.0
    assert with_depth_ranges(second)[1] == "sparse points"


@pytest.mark.parametrize("change", ["image", "pose"])
def test_another_image_or_pose_is_triangulated_anew(change, plane, triangulations, tmp_path):
    config = {"type": "AnyScene", "path": plane, "cache_dir": tmp_path / "cache"}
    build_scenes(config)
    if change == "image":
        write_image(plane / "3.png", cv2.imread(str(plane / "2.png")))
    else:
        text = (plane / "cameras.json").read_text()
        (plane / "cameras.json").write_text(text.replace("150.5", "150.25"))
    build_scenes(config)
    assert triangulations == ["plane", "plane"]


def test_nothing_is_triangulated_where_a_range_is_given_or_none_is_wanted(plane, triangulations, tmp_path):
    (given,) = build_scenes({"type": "AnyScene", "path": plane, "depth_range": (2, 7.5)})
    assert {view.depth_range for view in given.views} == {(2.0, 7.5)} and given.points is None
    (bare,) = build_scenes({"type": "AnyScene", "path": plane, "triangulate": False})
    assert bare.points is None and bare.views[0].depth_range is None
    text = (plane / "cameras.json").read_text().replace('"views"', '"depth_range": [1.5, 6.0], "views"', 1)
    (plane / "cameras.json").write_text(text)
    (told,) = build_scenes({"type": "AnyScene", "path": plane})
    assert with_depth_ranges(told)[1] == "source" and told.points is None
    assert not triangulations
    with pytest.raises(UserError, match=r"depth_range=\(3, 2\)"):
        build_scenes({"type": "AnyScene", "path": plane, "depth_range": (3, 2)})


def test_a_spoilt_cache_is_named(plane, triangulations, tmp_path):
    config = {"type": "AnyScene", "path": plane, "cache_dir": tmp_path / "cache"}
    build_scenes(config)
    (path,) = (tmp_path / "cache").glob("triangulated-*/points.npz")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"points\.npz: cannot be read .*Delete it"):
        build_scenes(config)


def test_options_go_to_the_importer(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path / "room")
    (scene,) = build_scenes({"type": "AnyScene", "path": root, "every": 3, "depth": False, "triangulate": False})
    assert [view.id for view in scene.views] == [0, 3] and scene.views[0].depth_path is None
    with pytest.raises(UserError, match=r"'evry'.*Options of ScanNetScene"):
        build_scenes({"type": "AnyScene", "path": root, "evry": 3})
