"""Pseudo labels in place of the scenes' own depth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolbox.datasets import MVSDataset, build_scenes
from toolbox.datasets.scenes import DTUTraining, PseudoLabelledScenes, label_folder_name
from toolbox.errors import UserError
from toolbox.io import CamFile, write_cam_txt, write_pfm
from toolbox.structures import Scene

GRID = (12, 20)


def label_depth(view_id: int) -> np.ndarray:
    """Another depth at each pixel, with a hole."""
    depth = 500 + 10.0 * view_id + np.arange(GRID[0] * GRID[1], dtype=np.float32).reshape(GRID)
    depth[2, 3] = 0
    return depth.astype(np.float32)


def grid_intrinsics(scene: Scene) -> np.ndarray:
    """Of a grid of every 4th pixel of an image region that begins at column 8, row 4."""
    k = scene.views[0].intrinsics.copy()
    k[:2, 2] -= (8, 4)
    k[:2] /= 4
    return k


def write_labels(folder: Path, scene: Scene, view_ids: list[int]) -> None:
    for i in view_ids:
        write_pfm(folder / "labels" / f"{i:08d}.pfm", label_depth(i))
        camera = CamFile(scene.view(i).world_to_cam, grid_intrinsics(scene))
        write_cam_txt(folder / "labels" / f"{i:08d}_cam.txt", camera)


def test_labels_on_their_own_grid_replace_all_ground_truth(tabletop_scene, tmp_path):
    original = replace(tabletop_scene, mesh_path=tmp_path / "truth.ply")
    original.views[:] = [replace(view, depth_scale=2.0) for view in original.views]
    write_labels(tmp_path / "labels" / "tabletop", original, [0, 2, 3])
    for view in original.views:
        view.depth_path.unlink()
    (labelled,) = PseudoLabelledScenes(original, tmp_path / "labels")
    assert labelled.mesh_path is None and labelled.unit == "mm"
    assert [view.depth_path is None for view in labelled.views] == [False, True, False, False, True]
    assert labelled.view(1).depth() is None
    depth = labelled.view(2).depth()
    assert depth.shape == (96, 128)
    np.testing.assert_array_equal(depth[4 : 4 + 4 * 12 : 4, 8 : 8 + 4 * 20 : 4], label_depth(2))
    assert not depth[:, 100:].any(), "no label outside of the label's grid"
    assert original.view(2).depth_path.name == "2.pfm", "the given scene is as before"

    dataset = MVSDataset(labelled, size=(48, 64))
    assert (dataset[0]["depth"] > 0).any() and dataset[1]["depth"] is None


def test_views_without_label_are_named(tabletop_scene, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("toolbox.datasets.scenes.labelled.print_log", lambda text, **_: said.append(text))
    write_labels(tmp_path / "tabletop", tabletop_scene, [0, 2, 3])
    PseudoLabelledScenes(tabletop_scene, tmp_path)
    assert said == ["tabletop: 2 of 5 views have no pseudo label: 1, 4"]


def test_lightings_share_the_labels_of_their_scan(truth, write, tmp_path):
    root = write.dtu(truth, tmp_path / "dtu")
    scene = DTUTraining(root, lightings=[0])[0]
    write_labels(tmp_path / "labels" / "scan4", scene, list(range(6)))
    config = {
        "type": "PseudoLabelledScenes",
        "scenes": {"type": "DTUTraining", "root": root},
        "labels": tmp_path / "labels",
    }
    scenes = build_scenes({**config, "shared": r"(scan\d+)_\d+"})
    assert [scene.name for scene in scenes] == ["scan4_0", "scan4_3"]
    assert {scene.view(3).depth_path for scene in scenes} == {tmp_path / "labels" / "scan4" / "labels" / "00000003.pfm"}
    names = [label_folder_name(name, r"(scan\d+)_\d+") for name in ("scan4_3", "scan4_3_more", "room")]
    assert names == ["scan4", "scan4_3_more", "room"], "the whole name has to match"
    np.testing.assert_array_equal(scenes[1].view(3).stored_depth()[0], label_depth(3))
    with pytest.raises(UserError, match=r"scan4_0/labels: does not exist: scene 'scan4_0' has no pseudo labels\. Make"):
        build_scenes(config)


def test_labels_of_other_cameras_are_refused(tabletop_scene, tmp_path):
    write_labels(tmp_path / "tabletop", tabletop_scene, [0, 1])
    other = tabletop_scene.view(2).world_to_cam
    write_cam_txt(tmp_path / "tabletop" / "labels" / "00000001_cam.txt", CamFile(other, np.eye(3)))
    with pytest.raises(UserError, match=r"00000001_cam.txt: is another camera than that of view 1 .*poses differ"):
        PseudoLabelledScenes(tabletop_scene, tmp_path)
    (tmp_path / "tabletop" / "labels" / "00000001_cam.txt").unlink()
    with pytest.raises(UserError, match=r"00000001_cam.txt: cannot be read"):
        PseudoLabelledScenes(tabletop_scene, tmp_path)


@pytest.mark.parametrize(("shared", "fault"), [("scan\\d+", "0 groups"), ("(scan", "no regular expression")])
def test_senseless_expressions_are_refused(tabletop_scene, tmp_path, shared, fault):
    with pytest.raises(UserError, match=fault):
        PseudoLabelledScenes(tabletop_scene, tmp_path, shared)
