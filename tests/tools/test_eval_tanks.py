"""tools/eval_tanks.py as the user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest

from toolbox.io import write_ply

TRUTH = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0.0]])
SHIFT = np.array([5.0, -3.0, 1.0])


@pytest.fixture
def folder(tmp_path) -> Path:
    """A scene whose ground truth lies ``SHIFT`` away from the frame of the published poses."""
    folder = tmp_path / "Truck"
    write_ply(folder / "Truck.ply", TRUTH)
    alignment = np.eye(4)
    alignment[:3, 3] = SHIFT
    np.savetxt(folder / "Truck_trans.txt", alignment)
    polygon = [[-1, -2, 0], [10, -2, 0], [10, 10, 0], [-1, 10, 0]]
    volume = {"orthogonal_axis": "Z", "axis_min": -1.0, "axis_max": 2.0, "bounding_polygon": polygon}
    (folder / "Truck.json").write_text(json.dumps(volume))
    own = np.concatenate((TRUTH[:3], [[6, 4, 0], [7, 4, 0], [50, 0, 0]]))
    write_ply(tmp_path / "own.ply", own + np.array([0, 0, 0.004]) - SHIFT)
    return folder


def test_published_threshold(run_tool, folder, tmp_path):
    ended = run_tool("eval_tanks", tmp_path / "own.ply", folder, "--out", tmp_path / "truck.json")
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "truck.json").read_text())
    assert report["recipe"] == {"threshold": 0.005, "voxel": 0.5, "icp": False}
    assert (report["scores"]["precision"], report["scores"]["recall"]) == (0.6, 0.75)
    assert "60.000 %" in ended.out
    assert "5 of 6 points inside the volume" in ended.out


def test_own_threshold(run_tool, folder, tmp_path):
    ended = run_tool("eval_tanks", tmp_path / "own.ply", folder, "--threshold", 0.003, "--out", tmp_path / "truck.json")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "truck.json").read_text())["scores"]["f_score"] == 0
    assert run_tool("eval_tanks", tmp_path / "own.ply", folder, "--threshold", 0).code == 2


def test_poses_of_a_frame_of_its_own(run_tool, folder, tmp_path):
    centres = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])

    def write(path: Path, offset: np.ndarray) -> None:
        rows = [f"{i} {i} 0\n1 0 0 {x}\n0 1 0 {y}\n0 0 1 {z}\n0 0 0 1" for i, (x, y, z) in enumerate(centres + offset)]
        path.write_text("\n".join(rows))

    offset = np.array([100.0, 200.0, 300.0])
    write_ply(tmp_path / "far.ply", TRUTH - SHIFT + offset)
    write(tmp_path / "far.log", offset)
    args = ("eval_tanks", tmp_path / "far.ply", folder, "--trajectory", tmp_path / "far.log")
    missing = run_tool(*args)
    assert missing.code == 2
    assert "Truck_COLMAP_SfM.log: does not exist" in missing.err
    write(folder / "Truck_COLMAP_SfM.log", np.zeros(3))
    ended = run_tool(*args, "--out", tmp_path / "far.json")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "far.json").read_text())["scores"]["f_score"] == 1


def test_unknown_scene_and_missing_cloud(run_tool, folder, tmp_path):
    ended = run_tool("eval_tanks", tmp_path / "own.ply", folder, "--scene", "Family")
    assert ended.code == 2
    assert "no published threshold" in ended.err
    ended = run_tool("eval_tanks", tmp_path / "none.ply", folder)
    assert ended.code == 2
    assert "none.ply: does not exist" in ended.err
