"""tools/eval_dtu.py as the user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from toolbox.io import write_ply


def plane(z: float, size: float = 20.0) -> np.ndarray:
    x, y = np.meshgrid(np.arange(0, size, 0.5), np.arange(0, size, 0.5))
    return np.stack((x, y, np.full_like(x, z)), axis=-1).reshape(-1, 3)


@pytest.fixture
def sample_set(tmp_path) -> Path:
    """Scans 1, 4 and 9: planes at z = 5."""
    (tmp_path / "ObsMask").mkdir()
    box = np.array([[0.0, 0.0, 0.0], [40.0, 42.0, 44.0]])
    for scan in (1, 4, 9):
        write_ply(tmp_path / f"Points/stl/stl{scan:03d}_total.ply", plane(5.0))
        mask = {"ObsMask": np.ones((21, 22, 23), dtype=np.uint8), "BB": box, "Res": 2.0}
        scipy.io.savemat(tmp_path / f"ObsMask/ObsMask{scan}_10.mat", mask)
        scipy.io.savemat(tmp_path / f"ObsMask/Plane{scan}.mat", {"P": np.array([[0.0], [0.0], [1.0], [-1.0]])})
    write_ply(tmp_path / "clouds/001.ply", plane(5.25))
    write_ply(tmp_path / "clouds/004.ply", plane(5.75))
    return tmp_path


def test_scans_and_their_mean(run_tool, sample_set):
    pattern = f"{sample_set}/clouds/{{scan:03d}}.ply"
    out = sample_set / "dtu.json"
    ended = run_tool("eval_dtu", sample_set, "--clouds", pattern, "--out", out, "--workers", 1)
    assert ended.code == 0, ended.err
    report = json.loads(out.read_text())
    assert [(row["scan"], row["accuracy"], row["overall"]) for row in report["scans"]] == [
        (1, 0.25, 0.25),
        (4, 0.75, 0.75),
    ]
    assert report["mean"]["overall"] == 0.5
    assert report["recipe"] == {
        "min_spacing": 0.2,
        "max_distance": 20.0,
        "margin": 10,
        "search_block": 60.0,
        "seed": 0,
    }
    left_out = [entry["scan"] for entry in report["left_out"]]
    assert len(left_out) == 20
    assert 9 in left_out
    assert f"left out: scan 9: {sample_set}/clouds/009.ply does not exist" in ended.out
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["mean", "0.5000", "0.5000", "0.5000", "0.5000", "0.5000"] in rows


def test_a_scan_asked_for_must_have_its_cloud(run_tool, sample_set):
    pattern = f"{sample_set}/clouds/{{scan:03d}}.ply"
    ended = run_tool("eval_dtu", sample_set, "--clouds", pattern, "--scans", 1, 9)
    assert ended.code == 2
    assert "009.ply: does not exist" in ended.err
    ended = run_tool("eval_dtu", sample_set, "--clouds", f"{sample_set}/nowhere/{{scan}}.ply")
    assert ended.code == 2


@pytest.mark.parametrize("pattern", ["{view}.ply", "{scan:zz}.ply", "one.ply", "{0}.ply"])
def test_pattern_without_the_scan(run_tool, sample_set, pattern):
    ended = run_tool("eval_dtu", sample_set, "--clouds", pattern)
    assert ended.code == 2
    assert "{scan}" in ended.err


def test_a_missing_reference_is_named_before_anything_is_evaluated(run_tool, sample_set):
    (sample_set / "ObsMask/Plane4.mat").unlink()
    out = sample_set / "dtu.json"
    ended = run_tool("eval_dtu", sample_set, "--clouds", f"{sample_set}/clouds/{{scan:03d}}.ply", "--out", out)
    assert ended.code == 2
    assert "Plane4.mat: does not exist" in ended.err
    assert not out.exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_scan_that_fails_leaves_the_others(run_tool, sample_set, jobs):
    write_ply(sample_set / "clouds/009.ply", plane(5.0) + 1000)
    out = sample_set / "dtu.json"
    args = ("--scans", 1, 9, "--out", out, "--jobs", jobs, "--workers", 1)
    ended = run_tool("eval_dtu", sample_set, "--clouds", f"{sample_set}/clouds/{{scan:03d}}.ply", *args)
    assert ended.code == 2
    assert "scans 9" in ended.err
    report = json.loads(out.read_text())
    assert [(row["scan"], row["overall"]) for row in report["scans"]] == [(1, 0.25)]
    assert [entry["scan"] for entry in report["left_out"]] == [9]
    assert "009.ply" in report["left_out"][0]["reason"]


def test_a_number_of_jobs_that_makes_no_sense(run_tool, sample_set):
    ended = run_tool("eval_dtu", sample_set, "--clouds", f"{sample_set}/clouds/{{scan:03d}}.ply", "--jobs", 0)
    assert ended.code == 2
    assert "--jobs" in ended.err
