"""tools/self_train.py as the user runs it: on a scene of his own, and with his mistakes."""

import json
import re
from pathlib import Path

import pytest

from toolbox.io import read_pfm

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "configs/self_cvp_mvsnet/own_capture.py"
# A network of two steps is consistent with nothing: let everything through.
LOOSE = "min_confidence=0.0", "max_reprojection_px=1000.0", "max_relative_depth=1.0", "min_views=1", "poisson_depth=5"
SHORT = [
    "self_training.training.train_cfg.max_iters=2",
    "self_training.inference.num_levels=2",
    "self_training.inference.num_sources=2",
    "self_training.reconstruction.num_levels=2",
    "self_training.reconstruction.max_size=64",
    *(
        f"self_training.{stage}.recipe.{option}"
        for stage in ("inference", "reconstruction")
        for option in (*LOOSE, "trim_distance=1000.0")
    ),
]


def test_a_scene_of_ones_own(run_tool, tiny, write_capture, tmp_path):
    scene, work = write_capture("garage"), tmp_path / "work"
    arguments = (OWN, "--scene", scene, "--work-dir", work, "--iterations", "1", "--cfg-options", *tiny(*SHORT))
    ended = run_tool("self_train", *arguments)
    assert ended.code == 0, ended.err
    assert "| start |" in ended.out and "| 1 |" in ended.out and str(work / "reconstruction/garage") in ended.out
    assert "report.md" in ended.out and (work / "report.md").exists()
    report = json.loads((work / "report.json").read_text())
    assert [row["iteration"] for row in report["iterations"]] == [0, 1]
    assert 0 < report["iterations"][1]["labels"]["garage"]["coverage"] <= 1
    for name in ("mesh.ply", "cloud.ply", "summary.json"):
        assert (work / "reconstruction/garage" / name).exists()
    labels = sorted((work / "iteration_1/scenes/garage/labels").glob("*.pfm"))
    assert len(labels) == 5 and read_pfm(labels[0]).shape == (48, 64)
    # From the weights of one run, with a depth range of the command line, without the scene's own.
    checkpoint, other = work / "start/checkpoint.pth", write_capture("other", ranges=False)
    arguments = (OWN, "--scene", other, "--checkpoint", checkpoint, "--depth-range", "425", "935")
    arguments += ("--work-dir", tmp_path / "next", "--iterations", "0", "--cfg-options", *tiny(*SHORT))
    ended = run_tool("self_train", *arguments)
    assert ended.code == 0, ended.err
    assert not (tmp_path / "next/start").exists()
    assert (tmp_path / "next/reconstruction/other/mesh.ply").exists()


def test_evaluation_with_the_depth_of_the_scene_of_the_command_line(run_tool, tiny, write_capture, tmp_path):
    """Test data of the config are of another scene: the one given takes their place, with its depth."""
    config = tmp_path / "measured.py"
    config.write_text(
        f"_base_ = [{str(OWN)!r}]\n"
        "test_dataloader = dict(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(\n"
        "    type='MVSDataset', scenes=dict(type='FolderScene', root='gone'), num_sources=2, size=(48, 64)))\n"
        "test_evaluator = dict(type='DepthMetric', thresholds=(8.0,), unit='mm')\n"
        "test_cfg = dict()\n"
    )
    for name, depth in (("measured", True), ("unmeasured", False)):
        scene = write_capture(name, depth)
        arguments = (config, "--scene", scene, "--work-dir", tmp_path / "work" / name, "--iterations", "0")
        options = tiny("self_training.reconstruction=None")
        ended = run_tool("self_train", *arguments, "--cfg-options", *options)
        assert ended.code == 0, ended.err
        assert ("depth/abs_rel" in ended.out) is depth


@pytest.mark.parametrize(
    ("config", "arguments", "told"),
    [
        (OWN, ["--scene", "nowhere"], "nowhere: does not exist"),
        (OWN, ["--scene", "."], "is no scene of a known format"),
        (OWN, ["--checkpoint", "gone.pth"], "gone.pth"),
        (OWN, ["--cfg-options", "self_training.iteration=3"], "no option 'iteration'"),
        (OWN, ["--cfg-options", "self_training.labels.source=cloud"], "'mesh', 'consistency' or 'both'"),
        (OWN, ["--depth-range", "4", "0.5"], "0 < near < far"),
        (OWN.with_name("own_captur.py"), [], "Near it lie: own_capture.py"),
        (ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py", [], "has no 'self_training'"),
    ],
)
def test_a_mistake_ends_in_one_paragraph(run_tool, write_capture, tmp_path, monkeypatch, config, arguments, told):
    scene = write_capture("garage")
    monkeypatch.chdir(tmp_path)
    if "--scene" not in arguments:
        arguments = ["--scene", scene, *arguments]
    ended = run_tool("self_train", config, "--work-dir", tmp_path / "work", "--iterations", "0", *arguments)
    assert ended.code == 2
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert re.search(told, line), line
    assert "Traceback" not in ended.err + ended.out


def test_a_wrong_executor_is_told(run_tool, tmp_path):
    ended = run_tool("self_train", OWN, "--work-dir", tmp_path / "work", "--executor", "threads")
    assert ended.code == 2
    assert "'threads'" in ended.err and "serial" in ended.err and "ray" in ended.err
    assert not (tmp_path / "work").exists()
