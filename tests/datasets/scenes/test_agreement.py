"""All importers agree on one scene written in each format, to 1e-6 pixels of projected points."""

import numpy as np
import pytest

from toolbox.datasets.scenes import (
    ColmapScene,
    DTUTest,
    DTUTraining,
    FolderScene,
    MVSNetScene,
    ScanNetScene,
    ScanNetSens,
    SevenScenes,
    TransformsScene,
)

IMPORTS = {
    "colmap binary": lambda truth, write, root: ColmapScene(write.colmap(truth, root)),
    "colmap text": lambda truth, write, root: ColmapScene(write.colmap(truth, root, text=True)),
    "transforms": lambda truth, write, root: TransformsScene(write.transforms(truth, root)),
    "scannet": lambda truth, write, root: ScanNetScene(write.scannet(truth, root)),
    "sens": lambda truth, write, root: ScanNetSens(write.sens(truth, root)),
    "7-scenes": lambda truth, write, root: SevenScenes(
        write.seven_scenes(truth, root), **write.seven_scenes_calibration
    ),
    "mvsnet": lambda truth, write, root: MVSNetScene(write.mvsnet(truth, root)),
    "dtu training": lambda truth, write, root: DTUTraining(write.dtu(truth, root))[1],
    "dtu test": lambda truth, write, root: DTUTest(write.dtu(truth, root, scan="scan9")),
    "folder": lambda truth, write, root: FolderScene(write.folder(truth, root)),
}


@pytest.mark.parametrize("format", IMPORTS)
def test_projections_agree(format, truth, write, tmp_path):
    scene = IMPORTS[format](truth, write, tmp_path / "scene")
    assert len(scene.views) == len(truth.images) and not scene.left_out
    for index, view in enumerate(scene.views):
        in_camera = truth.points @ view.world_to_cam[:3, :3].T + view.world_to_cam[:3, 3]
        projected = in_camera @ view.intrinsics.T
        pixels = projected[:, :2] / projected[:, 2:]
        assert np.abs(pixels - truth.project(index)).max() < 1e-6
        assert (view.image() == truth.images[index]).all()
        assert view.size == truth.images[index].shape[:2]


@pytest.mark.parametrize("format", ["scannet", "sens", "folder"])
def test_depth_is_in_metres(format, truth, write, tmp_path):
    truth.depths[2][5, 7], truth.depths[2][6, 8] = 0, 65535
    scene = IMPORTS[format](truth, write, tmp_path / "scene")
    expected = truth.depths[2] * 0.001
    expected[6, 8] = 0
    assert scene.unit == "m"
    np.testing.assert_allclose(scene.views[2].depth(), expected, rtol=1e-6)


def test_points_and_their_views_come_from_colmap(truth, write, tmp_path):
    scene = ColmapScene(write.colmap(truth, tmp_path))
    order = np.lexsort(scene.points.xyz.T)
    np.testing.assert_allclose(scene.points.xyz[order], truth.points[np.lexsort(truth.points.T)], atol=1e-12)
    for xyz, seen in zip(scene.points.xyz, scene.points.view_ids, strict=True):
        number = np.abs(truth.points - xyz).sum(axis=1).argmin()
        assert seen.tolist() == [index + 1 for index in range(6) if (number + index) % 3]


def test_pairs_and_ranges_are_kept(truth, write, tmp_path):
    for format in ("mvsnet", "dtu training", "folder"):
        scene = IMPORTS[format](truth, write, tmp_path / format)
        assert {ref: [s for s, _ in sources] for ref, sources in scene.pairs.items()} == {
            ref: [s for s, _ in sources] for ref, sources in truth.pairs.items()
        }
    assert IMPORTS["mvsnet"](truth, write, tmp_path / "mvsnet").views[1].depth_range == pytest.approx((1.5, 3.9))
    assert scene.views[1].depth_range == (1.4, 4.2)


def test_drifting_rotations_become_exact(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    write.matrix(root / "pose" / "3.txt", np.round(truth.cam_to_world[3], 4))
    rotation = ScanNetScene(root).view(3).world_to_cam[:3, :3]
    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-14
    assert np.abs(rotation - truth.world_to_cam(3)[:3, :3]).max() < 2e-4
