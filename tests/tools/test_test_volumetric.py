"""tools/test.py with a volumetric network: a mesh and a row for each scene, in one process or two."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trimesh

from toolbox.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("room_a", "room_b")


@pytest.fixture
def rooms(room_folder, tmp_path) -> Path:
    """The room under two names."""
    for name in NAMES:
        shutil.copytree(room_folder, tmp_path / "rooms" / name)
    return tmp_path / "rooms"


@pytest.fixture
def config(tiny_volumetric, rooms, tmp_path) -> Path:
    dataset = {
        "type": "FragmentDataset",
        "scenes": [{"type": "ScanNetScene", "root": str(rooms / name)} for name in NAMES],
        "rule": {"views": 4},
        "window": {"shape": (32, 32, 32), "voxel_size": 0.12},
        "size": None,
    }
    loader = {
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "SceneOrderSampler", "shuffle": False, "round_up": False},
        "dataset": dataset,
    }
    text = [f"_base_ = [{str(ROOT / 'configs/_base_/default_runtime.py')!r}]", f"model = {tiny_volumetric!r}"]
    text += [f"test_dataloader = {loader!r}", "test_cfg = dict()", "log_level = 'WARNING'"]
    text += ["test_evaluator = dict(type='MeshMetric', protocols=('neuralrecon', 'direct'), every=10)"]
    (tmp_path / "volumetric.py").write_text("\n".join(text) + "\n")
    return tmp_path / "volumetric.py"


@pytest.fixture
def weights(tiny_volumetric, tmp_path) -> Path:
    torch.save({"state_dict": MODELS.build(tiny_volumetric).state_dict(), "meta": {}}, tmp_path / "random.pth")
    return tmp_path / "random.pth"


def test_meshes_and_metrics_alone_and_in_two_processes(run_tool, config, weights, tmp_path):
    ended = run_tool("test", config, weights, "--work-dir", tmp_path / "run")
    assert ended.code == 0, ended.err
    measured = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {"neuralrecon/f_score", "direct/f_score", "depth/abs_rel"} <= set(measured["metrics"])
    (report,) = measured["reports"]
    assert [row["scene"] for row in report["scenes"]] == list(NAMES)
    assert report["recipe"]["protocols"] == ["neuralrecon", "direct"]
    for row in report["scenes"]:
        mesh = trimesh.load(tmp_path / "run/meshes" / row["scene"] / "mesh.ply")
        assert len(mesh.faces) == row["triangles"] > 0
    assert report["scenes"][0]["triangles"] == report["scenes"][1]["triangles"], "the memory does not leak"
    table = (tmp_path / "run/meshes/table.txt").read_text()
    assert all(name in table for name in (*NAMES, "neuralrecon", "mesh scene0000_00_vh_clean_2.ply"))
    assert f"meshes: {tmp_path / 'run/meshes'}" in ended.out

    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [ROOT / "tools/dist_test.sh", config, weights, "2", "--work-dir", tmp_path / "two"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    together = json.loads((tmp_path / "two/metrics.json").read_text())
    known = {name: value for name, value in measured["metrics"].items() if value is not None}
    assert {name: together["metrics"][name] for name in known} == pytest.approx(known, rel=1e-3)
    assert [row["scene"] for row in together["reports"][0]["scenes"]] == list(NAMES)


def test_incremental_meshes_and_a_folder_of_ones_own(run_tool, config, weights, tmp_path):
    ended = run_tool(
        *("test", config, weights, "--work-dir", tmp_path / "run", "--executor", "process", "--workers", "1"),
        *("--cfg-options", "test_evaluator.incremental=True", f"test_evaluator.out_dir={tmp_path / 'own'}"),
        *("test_evaluator.protocols=direct", "test_evaluator.depth=False"),
    )
    assert ended.code == 0, ended.err
    folder = tmp_path / "own/room_b"
    assert len(list(folder.glob("mesh_????.ply"))) > 1
    assert (folder / "mesh_0000.ply").is_file()
    assert not (tmp_path / "run/meshes").exists()
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())["metrics"]
    assert {name.split("/")[0] for name in metrics} == {"direct"}


def test_a_scene_without_truth_ends_in_one_paragraph(run_tool, config, weights, rooms, tmp_path):
    shutil.rmtree(rooms / "room_b/depth")
    (rooms / "room_b/scene0000_00_vh_clean_2.ply").unlink()
    ended = run_tool("test", config, weights, "--work-dir", tmp_path / "run")
    assert ended.code == 2
    assert "scene 'room_b': has neither a mesh nor depth" in ended.err and "Traceback" not in ended.err


def test_there_are_no_depth_maps_to_show(run_tool, config, weights, tmp_path):
    ended = run_tool("test", config, weights, "--show-dir", tmp_path / "pictures")
    assert ended.code == 2 and "gives meshes" in ended.err
