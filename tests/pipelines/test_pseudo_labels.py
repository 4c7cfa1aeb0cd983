"""Labels from exact depth maps: each source of labels, and how they fill each other's gaps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.fusion import FusionRecipe, FusionView, filtering, fuse_tsdf
from toolbox.io import CamFile, read_cam_txt, read_pfm, write_cam_txt, write_pfm
from toolbox.pipelines.depth_inference import DepthFiles
from toolbox.pipelines.fusion_stages import fuse_scene
from toolbox.pipelines.pseudo_labels import LabelFiles, LabelSettings, label_scene
from toolbox.pipelines.stages import Manifest
from toolbox.structures import Scene

RECIPE = FusionRecipe(min_views=2, num_sources=4, min_confidence=0.5, trim_distance=3.0)


@pytest.fixture
def fused(tabletop, tabletop_scene: Scene, tmp_path: Path) -> Path:
    """Depth maps of the true depth, whose middle is not confident, filtered and fused."""
    out = tmp_path / "out"
    for view, depth in zip(tabletop_scene.views, tabletop.depths, strict=True):
        files = DepthFiles(out, view.id)
        confidence = np.ones_like(depth)
        confidence[30:66, 40:88] = 0
        write_cam_txt(files.camera, CamFile(view.world_to_cam, view.intrinsics, 425.0))
        write_pfm(files.confidence, confidence)
        write_pfm(files.depth, depth)
    ids = [view.id for view in tabletop_scene.views]
    sources = {i: [j for j in ids if j != i] for i in ids}
    fuse_scene(
        tabletop_scene, out, (96, 128), sources, RECIPE, "exact", Manifest(out), lambda *_: None, keep_filtered=True
    )
    return out


def labels(scene: Scene, out: Path, **settings: object) -> np.ndarray:
    label_scene(scene, out, LabelSettings(size=(48, 64), **settings), quiet=True)
    return np.stack([read_pfm(LabelFiles(out, view.id).depth) for view in scene.views])


def test_labels_are_the_depth_of_the_training_camera(fused, tabletop, tabletop_scene: Scene):
    for source in ("mesh", "consistency", "both"):
        found = labels(tabletop_scene, fused, source=source)
        camera = read_cam_txt(LabelFiles(fused, 0).camera)
        np.testing.assert_allclose(camera.intrinsics[0, 0], tabletop_scene.views[0].intrinsics[0, 0] / 2, rtol=1e-6)
        truth = np.stack(tabletop.depths)[:, ::2, ::2]
        both = (found > 0) & (truth > 0)
        assert both.mean() > 0.2
        assert np.median(np.abs(found[both] / truth[both] - 1)) < 0.01


def test_both_lets_consistency_decide_and_the_mesh_fill(fused, tabletop_scene: Scene):
    mesh, consistency = (labels(tabletop_scene, fused, source=source) for source in ("mesh", "consistency"))
    both = labels(tabletop_scene, fused, source="both")
    np.testing.assert_array_equal(both, np.where(consistency > 0, consistency, mesh))
    assert ((consistency > 0) & (mesh != consistency)).any() and ((consistency == 0) & (mesh > 0)).any()


def test_a_smooth_surface_fills_what_is_left(fused, tabletop_scene: Scene):
    consistency = labels(tabletop_scene, fused, source="consistency")
    filled = labels(tabletop_scene, fused, source="consistency", fill={"poisson_depth": 5, "trim_distance": 1000.0})
    assert (consistency > 0).mean() + 0.05 < (filled > 0).mean()
    np.testing.assert_array_equal(filled[consistency > 0], consistency[consistency > 0])


def test_nothing_lies_beyond_the_far_end(fused, tabletop_scene: Scene):
    near = replace(tabletop_scene, views=[replace(view, depth_range=(425.0, 600.0)) for view in tabletop_scene.views])
    assert 0 < labels(near, fused, source="both").max() <= 600.0


def test_unknown_sources_are_named():
    with pytest.raises(UserError, match="'mesh', 'consistency' or 'both'"):
        LabelSettings(source="cloud")


def test_images_are_not_read(fused, tabletop_scene: Scene, tmp_path: Path):
    gone = [replace(view, image_path=tmp_path / "gone.png") for view in tabletop_scene.views]
    found = labels(replace(tabletop_scene, views=gone), fused, source="both")
    np.testing.assert_array_equal(found, labels(tabletop_scene, fused, source="both"))


def test_tsdf_integrates_the_depth_that_was_filtered_once(fused, tabletop_scene: Scene, monkeypatch):
    passes = []
    counted = filtering.check_sources
    monkeypatch.setattr(filtering, "check_sources", lambda *arguments: passes.append(1) or counted(*arguments))
    recipe = replace(RECIPE, method="tsdf")
    ids = [view.id for view in tabletop_scene.views]
    sources = {i: [j for j in ids if j != i] for i in ids}
    facts = fuse_scene(tabletop_scene, fused, (96, 128), sources, recipe, "exact", Manifest(fused), lambda *_: None)
    assert len(passes) == 1
    views = [
        FusionView(
            view.id,
            read_cam_txt(files.camera).intrinsics,
            read_cam_txt(files.camera).world_to_cam,
            depth=lambda files=files: read_pfm(files.depth),
            confidence=lambda files=files: read_pfm(files.confidence),
        )
        for view, files in ((view, DepthFiles(fused, view.id)) for view in tabletop_scene.views)
    ]
    assert facts["triangles"] == len(fuse_tsdf(views, sources, recipe).triangles) > 1000
