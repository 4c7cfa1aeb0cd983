"""A video through the whole pipeline, with a network that knows the true depth: only the pipeline can fail."""

import json
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from toolbox.apis import reconstruct_scene
from toolbox.datasets.fragments import dataset as fragment_data
from toolbox.datasets.scenes import ScanNetScene
from toolbox.errors import UserError
from toolbox.evaluation.clouds import read_points
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.pipelines import VideoSettings
from toolbox.structures import LeftOut, Scene

SETTINGS = {"keyframes": {"views": 4}, "size": None, "quiet": True}


class Oracle(VolumetricReconstructor):
    """A network that reads the views' depth from disk."""

    def __init__(self, scene: Scene, predict_truth):
        super(VolumetricReconstructor, self).__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.neck = SimpleNamespace(window=(64, 64, 64), voxel_size=0.06, fusion_on=True)
        self.scene, self.predict_truth = scene, predict_truth
        self.seen: list[int] = []

    def memory(self):
        return {}

    def forget(self):
        self.seen.append(-1)

    def test_step(self, data):
        (sample,) = data
        self.seen.append(sample["meta"]["fragment"])
        depth = [self.scene.view(int(view_id)).depth() for view_id in sample["meta"]["view_ids"]]
        return [self.predict_truth({**sample, "depth": torch.from_numpy(np.stack(depth))})]


@pytest.fixture(scope="module")
def room(room_folder: Path) -> Scene:
    return ScanNetScene(room_folder)


@pytest.fixture
def oracle(room, predict_truth) -> Oracle:
    return Oracle(room, predict_truth)


def moved(scene: Scene, turn: np.ndarray, scale: float) -> Scene:
    """The scene in a world that is turned, and in another unit."""
    views = []
    for view in scene.views:
        pose = view.world_to_cam @ np.linalg.inv(turn)
        pose[:3, 3] *= scale
        views.append(replace(view, world_to_cam=pose, depth_scale=view.depth_scale * scale))
    return replace(scene, views=views, mesh_path=None)


@pytest.mark.usefixtures("depth_fusion")
def test_mesh_in_the_world_and_unit_of_the_scene(oracle, room, tmp_path):
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_euler("xyz", [80, 20, 50], degrees=True).as_matrix(), (5, -6, 7)
    scene = replace(moved(room, turn, 1000.0), unit="mm", left_out=[LeftOut("9.jpg", "pose is missing")])
    summary = reconstruct_scene(scene, oracle, tmp_path, incremental=True, evaluate=True, **SETTINGS)
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    truth = read_points(room.mesh_path) @ turn[:3, :3].T + turn[:3, 3]
    distance = cKDTree(truth).query(np.asarray(mesh.vertices) / 1000)[0]
    assert np.median(distance) < 0.03 and np.quantile(distance, 0.9) < 0.1

    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert (summary["frames"], summary["unit"]) == (30, "mm")
    assert summary["left_out"] == [{"name": "9.jpg", "reason": "pose is missing"}]
    assert 4 < summary["keyframes"] < 30
    assert summary["fragments"] == -(-summary["keyframes"] // 4), "the last keyframes make a fragment, too"
    assert oracle.seen == [-1, *range(summary["fragments"]), -1], "in order, with an empty memory before and after"
    assert summary["scale"]["metres_per_unit"] == 0.001 and 0.5 < summary["scale"]["path_metres"] < 10
    assert summary["mesh"]["triangles"] == len(mesh.faces) > 500
    assert summary["mesh_error"]["neuralrecon/precision"] > 0.8
    steps = sorted(path.name for path in tmp_path.glob("mesh_*.ply"))
    assert steps == [f"mesh_{k:04d}.ply" for k in range(summary["fragments"])]
    assert 0 < len(trimesh.load(tmp_path / steps[0]).faces) < len(mesh.faces)

    colours = np.asarray(mesh.visual.vertex_colors)[:, :3].astype(float)
    painted = np.asarray(trimesh.load(room.mesh_path, process=False).visual.vertex_colors)[:, :3].astype(float)
    nearest = painted[cKDTree(truth).query(np.asarray(mesh.vertices) / 1000)[1]]
    assert (colours != 128).any(axis=1).mean() > 0.9, "keyframes see what they made"
    assert np.corrcoef(colours.mean(axis=1), nearest.mean(axis=1))[0, 1] > 0.5


def test_what_is_done_is_kept_and_a_kill_leaves_nothing_half(oracle, room, tmp_path):
    complete = oracle.test_step

    def killed_at_the_third(data):
        if data[0]["meta"]["fragment"] == 2:
            raise KeyboardInterrupt
        return complete(data)

    oracle.test_step = killed_at_the_third
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scene(room, oracle, tmp_path, colours=False, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert oracle.seen[-1] == -1, "the memory is emptied"
    oracle.test_step = complete
    first = reconstruct_scene(room, oracle, tmp_path, colours=False, **SETTINGS)
    written = (tmp_path / "mesh.ply").stat().st_mtime_ns
    oracle.seen.clear()
    again = reconstruct_scene(room, oracle, tmp_path, colours=False, **SETTINGS)
    assert oracle.seen == [] and (tmp_path / "mesh.ply").stat().st_mtime_ns == written, "nothing is done twice"
    assert again["mesh"] == first["mesh"]
    changed = reconstruct_scene(room, oracle, tmp_path, colours=False, volume={"threshold": 0.9}, **SETTINGS)
    assert len(oracle.seen) > 2 and changed["mesh"]["voxels"] < first["mesh"]["voxels"]
    grey = np.asarray(trimesh.load(tmp_path / "mesh.ply").visual.vertex_colors)[:, :3]
    assert (grey == 128).all()


def test_images_in_memory_do_not_grow_with_the_video(oracle, room, tmp_path, monkeypatch):
    """Of videos of any length, the images of two fragments are in memory at a time at most."""
    known, most, load, step = [], [], fragment_data.load_view, oracle.test_step

    def remember(thing: object) -> None:
        known.append(weakref.ref(thing))
        most.append(sum(reference() is not None for reference in known))

    def loaded(*arguments):
        view = load(*arguments)
        remember(view)
        return view

    def stepped(data):
        remember(data[0]["images"])
        return step(data)

    monkeypatch.setattr(fragment_data, "load_view", loaded)
    oracle.test_step = stepped
    longer = [replace(view, id=view.id + 100 * lap) for lap in range(3) for view in room.views]
    oracle.scene = replace(room, views=longer)
    for name, scene in (("once", room), ("thrice", oracle.scene)):
        most.clear()
        known.clear()
        summary = reconstruct_scene(scene, oracle, tmp_path / name, colours=False, **SETTINGS)
        assert len(most) == 5 * summary["fragments"]
        assert max(most) <= 4 + 1, name
    assert summary["fragments"] > 8


def test_a_scale_that_nobody_tells_is_assumed_and_said(oracle, room, tmp_path):
    half = replace(moved(room, np.eye(4), 2.0), unit="unknown")
    summary = reconstruct_scene(half, oracle, tmp_path / "given", metres_per_unit=0.5, colours=False, **SETTINGS)
    assert summary["scale"]["from"] == "given"
    distance = cKDTree(read_points(room.mesh_path)).query(trimesh.load(tmp_path / "given/mesh.ply").vertices / 2)[0]
    assert np.median(distance) < 0.03
    unknown = replace(room, unit="unknown")
    summary = reconstruct_scene(unknown, oracle, tmp_path / "assumed", colours=False, **SETTINGS)
    assert summary["scale"]["metres_per_unit"] == 1 and summary["scale"]["from"].startswith("assumed")


def test_mistakes_are_named(oracle, room, tmp_path):
    def fails(words: str, scene: Scene = room, **settings) -> None:
        with pytest.raises(UserError, match=words):
            reconstruct_scene(scene, oracle, tmp_path, **{**SETTINGS, **settings})

    fails(
        "has 2 keyframes among 2 frames, and a fragment needs 4", replace(room, views=[room.views[0], room.views[-1]])
    )
    fails("setting 'num_sources': is none of VideoSettings.*metres_per_unit", num_sources=4)
    fails("setting 'recipe': is none of VideoSettings", recipe={"min_views": 2})
    fails("setting 'veiws': is none of KeyframeRule", keyframes={"veiws": 4})
    fails("window.voxel_size: is the network's", window={"voxel_size": 0.1})
    fails("metres_per_unit=-1", metres_per_unit=-1.0)
    blind = replace(room, views=[replace(view, depth_path=None) for view in room.views], mesh_path=None)
    fails("neither a mesh nor depth", blind, evaluate=True)
    oracle.predict_truth = lambda sample, predict=oracle.predict_truth: {**predict(sample), "tsdf": torch.zeros(0)} | {
        "coords": torch.zeros(0, 3, dtype=torch.int32)
    }
    fails("no surface was found in .* fragments \\(0 voxels\\)")
    assert not (tmp_path / "mesh.ply").exists()


def test_settings_of_a_config_and_on_top():
    defaults = {"keyframes": {"views": 5}, "size": [48, 64], "window": {"max_depth": 2.0}}
    settings = VideoSettings.from_dicts(defaults, {"keyframes": {"min_distance": 0.2}, "size": [24, 32]})
    assert settings.size == (24, 32) and settings.window == {"max_depth": 2.0}
    rule = settings.keyframes
    assert (rule.views, rule.min_distance, rule.min_angle_degrees, rule.keep_rest) == (5, 0.2, 15.0, True)
