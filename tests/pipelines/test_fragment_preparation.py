import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from toolbox.datasets.fragments import FragmentDataset, KeyframeRule, read_fragments, read_volume
from toolbox.datasets.scenes import ScanNetScene
from toolbox.datasets.synthetic import make_scannet_scenes
from toolbox.errors import UserError
from toolbox.evaluation.clouds import read_points
from toolbox.fusion import extract_surface
from toolbox.pipelines.executors import map_scenes
from toolbox.pipelines.fragment_preparation import (
    PreparationJob,
    PreparationSettings,
    integrate_views,
    prepare_fragments,
)

SETTINGS = PreparationSettings(rule=KeyframeRule(views=4), voxel_size=0.06, levels=2)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=20, seed=3, size=(48, 64), workers=1)
    shutil.copytree(root / "scene0000_00", root / "scene0001_00")
    return root


@pytest.fixture(scope="module")
def job(rooms, tmp_path_factory) -> PreparationJob:
    """A room that is prepared."""
    job = PreparationJob(rooms / "scene0000_00", tmp_path_factory.mktemp("out") / "scene0000_00", SETTINGS)
    prepare_fragments(job)
    return job


def test_prepared_scenes_feed_a_data_set(job):
    facts = prepare_fragments(job)
    assert (facts["scene"], facts["frames"], facts["frames_without_depth"]) == ("scene0000_00", 20, 0)
    assert facts["volumes"]["levels"] == 2
    dataset = FragmentDataset(
        prepared=job.out.parent,
        window={"voxel_size": 0.06, "shape": (32, 32, 32)},
        levels=2,
        size=None,
        read_tsdf=True,
    )
    assert len(dataset) == facts["fragments"] > 1
    occupied = [dataset[i]["occupancy"] for i in range(len(dataset))]
    assert all(levels[0].sum() > levels[1].sum() > 10 for levels in occupied)


def test_surface_of_the_volume_is_the_room(job, rooms):
    scene = ScanNetScene(rooms / "scene0000_00")
    fine, coarse = integrate_views(scene.views, np.eye(4), 0.06, 2)
    assert torch.equal(fine.tsdf, read_volume(job.out / "tsdf_0.npz"))
    assert coarse.voxel_size == 0.12
    assert torch.equal(coarse.origin, fine.origin)
    tree = cKDTree(read_points(scene.mesh_path))
    distance = tree.query(extract_surface(fine).vertices)[0]
    assert np.quantile(distance, [0.5, 0.9])[0] < 0.03
    steps = fine.origin / (8 * 0.06)
    torch.testing.assert_close(steps, steps.round())


def test_a_turned_world_gives_the_same_volumes(job, rooms):
    """The volumes' frame is what counts, not the world the cameras came in."""
    scene = ScanNetScene(rooms / "scene0000_00")
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("xyz", [80, 20, 50], degrees=True).as_matrix(), (5, -6, 7)
    views = [replace(view, world_to_cam=view.world_to_cam @ np.linalg.inv(turn)) for view in scene.views]
    turned = integrate_views(views, np.linalg.inv(turn), 0.06, 1)[0]
    different = (turned.tsdf - read_volume(job.out / "tsdf_0.npz")).abs() > 1e-3
    assert different.float().mean() < 1e-3


def test_what_is_done_is_kept_and_what_changed_is_made_anew(job):
    def times() -> list[int]:
        return [(job.out / name).stat().st_mtime_ns for name in ("fragments.json", "tsdf_0.npz")]

    before = times()
    prepare_fragments(job)
    assert times() == before
    prepare_fragments(replace(job, settings=replace(SETTINGS, rule=KeyframeRule(views=5))))
    assert all(after > earlier for after, earlier in zip(times(), before, strict=True))
    assert {len(fragment) for fragment in read_fragments(job.out).fragments} == {5}
    (job.out / "tsdf_1.npz").unlink()
    prepare_fragments(job)
    assert (job.out / "tsdf_1.npz").is_file()
    assert {len(fragment) for fragment in read_fragments(job.out).fragments} == {4}


def test_without_depth_there_are_fragments_only(rooms, tmp_path):
    for options, settings in (({"depth": False}, SETTINGS), ({}, replace(SETTINGS, tsdf=False))):
        out = tmp_path / str(len(options))
        facts = prepare_fragments(PreparationJob(rooms / "scene0001_00", out, settings, options=options))
        assert facts["volumes"] is None
        assert sorted(path.name for path in out.iterdir()) == ["fragments.json", "manifest.json"]
        assert read_fragments(out).volumes is None


def test_missing_depth_maps_are_named(rooms, tmp_path):
    shutil.copytree(rooms / "scene0000_00", tmp_path / "room")
    scene = ScanNetScene(tmp_path / "room")
    scene.views[7].depth_path.unlink()
    with pytest.raises(UserError, match=r"7\.png"):
        integrate_views(scene.views, np.eye(4), 0.06, 1)
    facts = prepare_fragments(PreparationJob(tmp_path / "room", tmp_path / "out", SETTINGS))
    assert (facts["frames_without_depth"], facts["volumes"]["levels"]) == (1, 2)


def test_published_files_are_taken_over(rooms, tmp_path):
    published = tmp_path / "all_tsdf_9" / "scene0000_00"
    published.mkdir(parents=True)
    entries = [{"scene": "scene0000_00", "fragment_id": 0, "image_ids": [0, 3, 4]}]
    (published / "fragments.pkl").write_bytes(pickle.dumps(entries))
    info = {"vol_origin": np.array([-1.0, 2.0, 0.5]), "voxel_size": 0.04}
    (published / "tsdf_info.pkl").write_bytes(pickle.dumps(info))
    for level in range(3):
        values = np.full((8 >> level, 8 >> level, 16 >> level), 0.1 * level, np.float32)
        np.savez_compressed(published / f"full_tsdf_layer{level}.npz", values)
    facts = prepare_fragments(PreparationJob(rooms / "scene0000_00", tmp_path / "out", SETTINGS, published=published))
    assert facts["volumes"] == {"origin": [-1.0, 2.0, 0.5], "voxel_size": 0.04, "levels": 3}
    prepared = read_fragments(tmp_path / "out")
    assert prepared.fragments == [[0, 3, 4]]
    assert torch.equal(prepared.volume(2), torch.full((2, 2, 4), 0.2))
    assert json.loads((tmp_path / "out" / "fragments.json").read_text())["rule"] is None


def test_jobs_travel_to_other_processes_and_give_the_same(rooms, tmp_path):
    names = ("scene0000_00", "scene0001_00")
    written = {}
    for executor in ("serial", "process"):
        jobs = [PreparationJob(rooms / name, tmp_path / executor / name, SETTINGS) for name in names]
        facts = map_scenes(prepare_fragments, jobs, executor, 2)
        assert [entry["scene"] for entry in facts] == list(names)
        folder = tmp_path / executor
        written[executor] = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert len(written["serial"]) >= 2 * 3
    manifests = {path for path in written["serial"] if path.name == "manifest.json"}  # say where they lie, and seconds
    for path in written["serial"].keys() - manifests:
        assert written["serial"][path] == written["process"][path], path
    assert written["serial"].keys() == written["process"].keys()
