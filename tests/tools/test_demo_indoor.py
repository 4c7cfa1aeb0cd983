"""The demo of rooms: what it compares with, draws and reads from logs. The whole of it is too long for a test."""

import importlib
import json
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trimesh
from mmengine.config import DictAction

from toolbox.datasets.scenes import open_scene
from toolbox.engine import load_config

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def demo(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("demo_indoor")


@pytest.mark.usefixtures("depth_fusion")
def test_flat_planes_are_as_wrong_as_the_median(demo, room_folder):
    scene = open_scene(room_folder)
    scene = replace(scene, views=scene.views[:1])  # one plane, which no other view contradicts
    depth = scene.views[0].depth()
    median = np.median(depth[depth > 0])
    row = demo.flat_planes(scene)
    assert set(demo.METRICS) <= set(row)
    assert row["depth/abs_rel"] == pytest.approx(np.mean(np.abs(median - depth) / depth), rel=0.05)
    assert row["depth/complete"] > 0.9


def test_pictures(demo, room_folder, tmp_path):
    scene = open_scene(room_folder)
    for name in ("untrained", "trained"):
        target = tmp_path / name / "meshes" / scene.name / "mesh.ply"
        target.parent.mkdir(parents=True)
        trimesh.creation.box(bounds=[[0, 0, 0], [1, 1, 1]]).export(target)
    demo.draw_depth(scene, tmp_path, views=2)
    demo.draw_meshes(scene, tmp_path, size=(48, 64))
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2


def test_the_curve_is_read_from_all_logs_of_a_resumed_training(demo, tmp_path):
    for name, rows in {
        "a": [{"loss": 1.0}, {"neuralrecon/f_score": 0.1, "step": 2}],
        "b": [{"neuralrecon/f_score": 0.2, "step": 2}, {"neuralrecon/f_score": 0.3, "step": 4}],
    }.items():
        log = tmp_path / name / "vis_data" / "scalars.json"
        log.parent.mkdir(parents=True)
        log.write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert [(row["step"], row["neuralrecon/f_score"]) for row in demo.curve(tmp_path)] == [(2, 0.2), (4, 0.3)]


def test_measured_rooms_are_held_out(demo):
    parser = ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    config = load_config(demo.CONFIG)
    config.merge_from_dict(parser.parse_args(["--cfg-options", *demo.data_options(Path("made"))]).cfg_options)
    sets = {use: config[f"{use}_dataloader"].dataset for use in ("train", "val", "test")}
    assert {str(data.prepared) for data in sets.values()} == {"made"}
    assert tuple(sets["val"].names) == tuple(sets["test"].names) == demo.MEASURED
    assert tuple(sets["train"].names) == demo.TRAINED and not set(demo.TRAINED) & set(demo.MEASURED)


def test_the_config_holds_rooms_out_and_ends_with_a_memory(demo):
    config = load_config(demo.CONFIG)
    assert not set(config.test_dataloader.dataset.names) & set(config.train_dataloader.dataset.names)
    assert config.param_scheduler[1].end == config.train_cfg.max_epochs > config.custom_hooks[0].fusion_epoch
