"""The procedural data sets load, and depth, poses and intrinsics of two views tell one geometry."""

import numpy as np
import pytest
import torch

from toolbox.datasets.scenes import DTUTraining, open_scene
from toolbox.datasets.synthetic.dtu import make_dtu_scenes
from toolbox.datasets.synthetic.scannet import make_scannet_scenes
from toolbox.geometry import sample_at_pixels, unproject
from toolbox.structures import Scene, View


def relative_depth_errors(reference: View, source: View) -> np.ndarray:
    """|projected depth - the source's depth| / depth of the reference's pixels that fall into the source."""
    depth, k = torch.from_numpy(reference.depth()).double(), torch.from_numpy(source.intrinsics)
    points = unproject(depth, torch.from_numpy(reference.intrinsics))[depth > 0]
    to_source = torch.from_numpy(source.world_to_cam @ np.linalg.inv(reference.world_to_cam))
    points = points @ to_source[:3, :3].T + to_source[:3, 3]
    xy = (points @ k.T)[:, :2] / points[:, 2:]
    seen = sample_at_pixels(torch.from_numpy(source.depth()).double()[None, None], xy[None, None], mode="nearest")[
        0, 0, 0
    ]
    valid = (seen > 0) & (points[:, 2] > 0)
    return ((points[:, 2] - seen).abs() / seen)[valid].numpy()


def check(scene: Scene) -> None:
    assert not scene.left_out and scene.mesh_path.is_file()
    errors = relative_depth_errors(scene.views[0], scene.views[1])
    assert len(errors) > 1000 and np.median(errors) < 0.004


def test_tabletops(tmp_path):
    make_dtu_scenes(tmp_path, scenes=1, views=3, seed=3, size=(60, 84), lightings=2, test_scenes=1, workers=1)
    scenes = DTUTraining(tmp_path)
    assert [scene.name for scene in scenes] == ["scan1_0", "scan1_1"]
    held_out = open_scene(tmp_path / "scan2", unit="mm")
    for scene in (scenes[1], held_out):
        assert scene.unit == "mm" and len(scene.views) == 3 and scene.views[0].size == (60, 84)
        assert scene.views[0].depth_range == pytest.approx((425.0, 935.0))
        check(scene)


def test_rooms(tmp_path):
    make_scannet_scenes(tmp_path, scenes=1, views=12, seed=3, size=(60, 84), workers=1)
    (root,) = tmp_path.glob("scene*")
    scene = open_scene(root)
    assert scene.unit == "m" and len(scene.views) == 12
    check(scene)
