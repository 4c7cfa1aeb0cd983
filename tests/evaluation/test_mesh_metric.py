"""Meshes of whole scenes, with a network that knows the true depth: only the metric can fail."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from toolbox.datasets.fragments import FragmentDataset
from toolbox.datasets.scenes import ScanNetScene
from toolbox.engine.metrics_file import jsonable
from toolbox.errors import UserError
from toolbox.evaluation import MeshMetric
from toolbox.registry import METRICS
from toolbox.structures import Scene

SETTINGS = {
    "rule": {"views": 4},
    "window": {"shape": (64, 64, 64), "voxel_size": 0.06},
    "size": None,
    "read_depth": True,
}
NAMES = {"accuracy", "completeness", "chamfer", "precision", "recall", "f_score"}


@pytest.fixture(scope="module")
def room(room_folder: Path) -> Scene:
    """In a world that is turned and shifted against the volumes' frame, without its mesh."""
    scene = ScanNetScene(room_folder)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("xyz", [80, 20, 50], degrees=True).as_matrix(), (5, -6, 7)
    views = [replace(view, world_to_cam=view.world_to_cam @ np.linalg.inv(turn)) for view in scene.views]
    return replace(scene, views=views, mesh_path=None)


@pytest.fixture(scope="module")
def samples(room, predict_truth) -> list[dict]:
    dataset = FragmentDataset(scenes=room, **SETTINGS)
    return [predict_truth(dataset[i]) for i in range(len(dataset))]


def measure(metric: MeshMetric, samples: list[dict]) -> dict[str, float]:
    for sample in samples:
        metric.process(None, [sample])
    return metric.evaluate(len(samples))


@pytest.mark.usefixtures("depth_fusion")
def test_meshes_and_numbers_of_every_protocol(samples, tmp_path):
    protocols = ("neuralrecon", "transformerfusion", "direct")
    metric = METRICS.build(
        {"type": "MeshMetric", "protocols": protocols, "out_dir": tmp_path, "incremental": True, "every": 2}
    )
    found = measure(metric, samples)
    assert {name.split("/")[0] for name in found} == {*protocols, "depth"}
    for protocol in protocols:
        assert {name.split("/")[1] for name in found if name.startswith(protocol)} == NAMES
        assert found[f"{protocol}/precision"] > 0.8, protocol
        assert found[f"{protocol}/f_score"] > 0.4, protocol
    assert found["depth/abs_rel"] < 0.05
    assert 0.3 < found["depth/coverage"] <= 1

    folder = tmp_path / "scene0000_00"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["mesh.ply", *(f"mesh_{k:04d}.ply" for k in range(len(samples)))]
    meshes = [trimesh.load(folder / name) for name in names]
    assert (folder / names[-1]).read_bytes() == (folder / "mesh.ply").read_bytes()
    sizes = [len(mesh.faces) for mesh in meshes[1:]]
    assert sizes == sorted(sizes) and 0 < sizes[0] < sizes[-1]

    (row,) = metric.report["scenes"]
    assert row["mesh"] == str(folder / "mesh.ply") and row["triangles"] == sizes[-1]
    assert (row["fragments"], row["frames"], row["frames_with_depth"]) == (len(samples), 15, 15)
    assert row["truth"] == "TSDF of 15 depth maps"
    json.dumps(jsonable(metric.report))
    table = (tmp_path / "table.txt").read_text()
    assert "TSDF of 15 depth maps" in table
    assert table.count(f"{found['neuralrecon/f_score']:.4f}") >= 2
    assert metric.results == [], "another evaluation starts anew"


def test_the_truth_is_the_scenes_mesh_where_there_is_one(samples, room, room_folder):
    """The mesh in its own world, the fragments in the turned one: nothing is near anything."""
    with_mesh = replace(room, mesh_path=ScanNetScene(room_folder).mesh_path)
    metric = MeshMetric(protocols="direct", depth=False, scenes=with_mesh)
    found = measure(metric, samples)
    assert found["direct/precision"] < 0.1 and set(found) == {f"direct/{name}" for name in NAMES}
    assert metric.report["scenes"][0]["truth"] == "mesh scene0000_00_vh_clean_2.ply"
    assert metric.out_dir is None and "mesh" not in metric.report["scenes"][0]


@pytest.mark.usefixtures("depth_fusion")
def test_rows_may_be_computed_elsewhere_and_ranks_may_have_no_scene(samples):
    metric = MeshMetric(protocols="direct", depth=False, every=5)
    seen = []

    def mapped(function, jobs):
        seen.extend(jobs)
        return [{"scene": "b", "direct/recall": float("nan"), "direct/precision": 0.5}, *map(function, jobs)]

    metric.map = mapped
    found = measure(metric, samples)
    assert len(seen) == 1
    rows = {row["scene"]: row for row in metric.report["scenes"]}
    assert found["direct/recall"] == rows["scene0000_00"]["direct/recall"]
    assert found["direct/precision"] == (0.5 + rows["scene0000_00"]["direct/precision"]) / 2
    metric.map = lambda function, jobs: []
    with pytest.raises(UserError, match="no complete scene"):
        metric.evaluate(0)


@pytest.mark.usefixtures("depth_fusion")
def test_nothing_predicted_scores_nothing(samples, tmp_path):
    nothing = [sample | {"coords": sample["coords"][:0], "tsdf": sample["tsdf"][:0]} for sample in samples]
    found = measure(MeshMetric(protocols=("neuralrecon", "direct"), every=10, out_dir=tmp_path), nothing)
    assert found["neuralrecon/f_score"] == found["direct/recall"] == found["depth/coverage"] == 0
    assert np.isnan(found["direct/accuracy"])


def test_fragments_that_do_not_follow_are_told(samples):
    metric = MeshMetric()
    metric.process(None, samples[:1])
    with pytest.raises(UserError, match=r"fragment 2 of scene 'scene0000_00': does not follow .*SceneOrderSampler"):
        metric.process(None, samples[2:3])
    moved = samples[1] | {"volume_to_scene": samples[1]["volume_to_scene"] * 1.01}
    with pytest.raises(UserError, match="placed differently"):
        metric.process(None, [moved])


def test_what_cannot_be_measured_is_told_before_the_work(samples, room):
    blind = replace(room, views=[replace(view, depth_path=None) for view in room.views])
    with pytest.raises(UserError, match="neither a mesh nor depth"):
        MeshMetric(scenes=blind).process(None, samples[:1])
    with pytest.raises(UserError, match="has no 'scene0000_00' \\(but: other\\)"):
        MeshMetric(scenes=[replace(room, name="other")]).process(None, samples[:1])
    with pytest.raises(UserError, match="measured in mm"):
        MeshMetric(scenes=replace(room, unit="mm")).process(None, samples[:1])
    for mistake, words in (
        ({"protocols": "neural_recon"}, "Choose from neuralrecon, transformerfusion, direct"),
        ({"every": 0}, "every=0"),
        ({"incremental": True}, "Give out_dir"),
        ({"recipes": {"neural": {}}}, "Give neuralrecon"),
    ):
        with pytest.raises(UserError, match=words):
            MeshMetric(**mistake)
