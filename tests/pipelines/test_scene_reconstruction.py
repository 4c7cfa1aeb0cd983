"""A scene through the whole pipeline, with a network that knows the true depth: only the pipeline can fail."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from toolbox.apis import reconstruct_scene
from toolbox.engine import load_config
from toolbox.errors import UserError
from toolbox.fusion import FusionRecipe
from toolbox.io import read_cam_txt, read_pfm
from toolbox.models.reconstructors import MultiViewStereo
from toolbox.registry import MODELS
from toolbox.structures import Scene, View

ROOT = Path(__file__).resolve().parents[2]
RECIPE = FusionRecipe(min_views=2, num_sources=4, min_confidence=0.0, trim_distance=6.0)


class Oracle(MultiViewStereo):
    """A network whose features are the view's number, and whose depth is the exact one."""

    test_num_levels = 2
    pose_refiner = None

    def __init__(self, tabletop):
        super(MultiViewStereo, self).__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.backbone_calls, self.tabletop = [], tabletop

    def extract_features(self, images, num_levels):
        match = [np.abs(images[0].numpy().transpose(1, 2, 0) * 255 - i).max() < 0.5 for i in self.tabletop.images]
        self.backbone_calls.append(match.index(True))
        return [torch.tensor([match.index(True)])]

    def predict_from_features(
        self, features, intrinsics, world_to_cam, depth_range, image_size, images=None, tile_size=None
    ):
        from toolbox.structures import DepthPrediction

        depth = torch.from_numpy(self.tabletop.depths[int(features[0][0])])[None]
        return DepthPrediction([depth], [intrinsics], (depth > 0).float())


@pytest.fixture
def oracle(tabletop) -> Oracle:
    return Oracle(tabletop)


def test_results(oracle, tabletop, tabletop_scene: Scene, tmp_path: Path):
    out = tmp_path / "out"
    summary = reconstruct_scene(tabletop_scene, oracle, out, RECIPE, quiet=True, evaluate=True)
    assert sorted(oracle.backbone_calls) == [0, 1, 2, 3, 4], "features once per view"
    for i in range(5):
        np.testing.assert_array_equal(read_pfm(out / "depth" / f"{i:08d}.pfm"), tabletop.depths[i])
        assert read_pfm(out / "confidence" / f"{i:08d}.pfm").shape == (96, 128)
        camera = read_cam_txt(out / "cameras" / f"{i:08d}_cam.txt")
        np.testing.assert_allclose(camera.world_to_cam, tabletop.world_to_cam[i], atol=1e-5)
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert summary["depth_error"]["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert summary["recipe"]["min_views"] == 2 and summary["left_out"] == []

    cloud = trimesh.load(out / "cloud.ply")
    assert len(cloud.vertices) == summary["fusion"]["points"] > 1000
    camera = tabletop.world_to_cam[0].astype(np.float64)
    points = np.asarray(cloud.vertices) @ camera[:3, :3].T + camera[:3, 3]
    pixels = points @ tabletop.intrinsics[0].T
    x, y = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int).T
    inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 96)
    surface = tabletop.depths[0][y[inside], x[inside]]
    hit = surface > 0
    visible = np.abs(points[inside, 2][hit] / surface[hit] - 1)
    assert np.median(visible) < 0.01, "the cloud lies on the surface"
    mesh = trimesh.load(out / "mesh.ply")
    assert len(mesh.faces) == summary["fusion"]["triangles"] > 500


def test_resumes_after_a_kill(oracle, tabletop_scene: Scene, tmp_path: Path):
    out = tmp_path / "out"
    complete = oracle.predict_from_features

    def killed_at_the_third(*arguments, **options):
        if len(list((out / "depth").glob("*.pfm"))) == 2:
            raise KeyboardInterrupt
        return complete(*arguments, **options)

    oracle.predict_from_features = killed_at_the_third
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scene(tabletop_scene, oracle, out, RECIPE, quiet=True)
    first = (out / "depth" / "00000000.pfm").stat().st_mtime_ns
    oracle.predict_from_features = complete
    summary = reconstruct_scene(tabletop_scene, oracle, out, RECIPE, quiet=True)
    assert summary["depth"]["views_inferred"] == 3 and summary["depth"]["views_found_done"] == 2
    assert (out / "depth" / "00000000.pfm").stat().st_mtime_ns == first

    cloud = (out / "cloud.ply").stat().st_mtime_ns
    oracle.backbone_calls.clear()
    reconstruct_scene(tabletop_scene, oracle, out, RECIPE, quiet=True)
    assert not oracle.backbone_calls and (out / "cloud.ply").stat().st_mtime_ns == cloud, "nothing redone"
    changed = FusionRecipe.from_dict({**RECIPE.to_dict(), "min_views": 3})
    reconstruct_scene(tabletop_scene, oracle, out, changed, quiet=True)
    assert not oracle.backbone_calls and (out / "cloud.ply").stat().st_mtime_ns != cloud, "another recipe: fusion alone"


def test_sources_of_the_fusion_do_not_make_depth_stale(oracle, tabletop_scene: Scene, tmp_path: Path):
    for count in (2, 4):
        recipe = FusionRecipe.from_dict({**RECIPE.to_dict(), "num_sources": count})
        reconstruct_scene(tabletop_scene, oracle, tmp_path / "out", recipe, quiet=True, num_sources=2)
        assert bool(oracle.backbone_calls) == (count == 2)
        oracle.backbone_calls.clear()


def test_the_filters_may_leave_nothing(oracle, tabletop_scene: Scene, tmp_path: Path):
    with pytest.raises(UserError, match="confidence"):
        reconstruct_scene(
            tabletop_scene, oracle, tmp_path / "out", {**RECIPE.to_dict(), "min_confidence": 1.0}, quiet=True
        )
    assert len(list((tmp_path / "out" / "depth").glob("*.pfm"))) == 5, "the depth maps stay"


def test_a_broken_image_is_named(oracle, tabletop_scene: Scene, tmp_path: Path):
    path = tabletop_scene.views[2].image_path
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"2\.png"):
        reconstruct_scene(tabletop_scene, oracle, tmp_path / "out", RECIPE, quiet=True)


def test_views_that_nothing_overlaps_are_listed(oracle, tabletop_scene: Scene, tmp_path: Path):
    away = np.diag([-1.0, 1.0, -1.0, 1.0]) @ tabletop_scene.views[4].world_to_cam
    tabletop_scene.views[4] = View(**{**tabletop_scene.views[4].__dict__, "world_to_cam": away})
    tabletop_scene.pairs = {
        0: [(1, 1.0), (2, 1.0)],
        1: [(0, 1.0), (2, 1.0)],
        2: [(1, 1.0), (3, 1.0)],
        3: [(2, 1.0)],
        4: [],
    }
    summary = reconstruct_scene(
        tabletop_scene, oracle, tmp_path / "out", {**RECIPE.to_dict(), "min_views": 1}, quiet=True
    )
    assert [frame["name"] for frame in summary["left_out"]] == ["4"] and summary["references"] == 4


def test_real_network_with_many_levels(tabletop_scene: Scene, tmp_path: Path):
    """An untrained network reaches the depth maps, at a reduced size and with more levels than it trains with."""
    model = MODELS.build(load_config(ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py").model)
    reconstruct_scene(
        tabletop_scene,
        model,
        tmp_path / "out",
        {"min_views": 1, "min_confidence": 0.0, "max_relative_depth": 1.0, "max_reprojection_px": 100.0},
        quiet=True,
        max_size=100,
        num_levels=3,
        num_sources=2,
    )
    depth = read_pfm(tmp_path / "out" / "depth" / "00000000.pfm")
    assert depth.shape == (75, 100) and depth.min() >= 425 - 0.1 and depth.max() <= 935.1


def test_depth_that_the_images_do_not_tell_apart_is_not_confident(
    oracle, tabletop, tabletop_scene: Scene, tmp_path: Path
):
    reconstruct_scene(tabletop_scene, oracle, tmp_path / "out", RECIPE, quiet=True, min_distinctness=0.005)
    confidence = read_pfm(tmp_path / "out" / "confidence" / "00000002.pfm")
    known = tabletop.depths[2] > 0
    assert 0.2 < confidence[known].mean() < 0.98
    with pytest.raises(UserError, match="nothing passed 'confidence"):
        reconstruct_scene(tabletop_scene, oracle, tmp_path / "none", RECIPE, quiet=True, min_distinctness=10.0)
