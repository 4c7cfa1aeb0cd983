"""tools/test.py: metrics as a table and a file, pictures, and what it refuses."""

import json
import re
from pathlib import Path

import cv2
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SLIM = ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py"


@pytest.fixture
def trained(run_tool, slim, tmp_path) -> Path:
    assert run_tool("train", SLIM, *slim("default_hooks.pictures=None")).code == 0
    (tmp_path / "run").rename(tmp_path / "trained")
    return tmp_path / "trained/iter_2.pth"


def test_metrics_and_pictures(run_tool, slim, tmp_path, trained):
    out, pictures = tmp_path / "numbers/measured.json", tmp_path / "pictures"
    ended = run_tool("test", SLIM, trained, "--out", out, "--show-dir", pictures, *slim())
    assert ended.code == 0, ended.err
    measured = json.loads(out.read_text())
    assert measured["run"]["split"] == "test"
    assert measured["run"]["checkpoint"] == str(trained)
    assert measured["run"]["config"].endswith("cvp_mvsnet_slim.py")
    assert measured["reports"][0]["counts"]["images"] == 4
    assert measured["reports"][0]["recipe"]["thresholds"] == [2.0, 4.0, 8.0]
    assert set(measured["metrics"]) >= {
        *(f"depth/{name}" for name in ("abs_rel", "abs_diff", "sq_rel", "rmse", "log_rmse", "delta_1.25^3")),
        *("depth/within_2mm", "depth/coverage", "depth/abs_rel_level1", "depth/baseline_abs_rel"),
    }
    # The same numbers as in the validation at the end of the training, and in the printed table.
    at_training = json.loads((trained.parent / "metrics.json").read_text())
    assert measured["metrics"] == pytest.approx(at_training["metrics"], rel=1e-5)
    printed = dict(re.findall(r"^(depth/\S+) +(\S+)$", ended.out, flags=re.MULTILINE))
    assert float(printed["depth/abs_rel"]) == pytest.approx(measured["metrics"]["depth/abs_rel"], rel=1e-5)
    assert f"metrics: {out}" in ended.out
    names = sorted(path.name for path in pictures.iterdir())
    assert names == [f"scan2_3_{view}.png" for view in range(4)]
    assert cv2.imread(str(pictures / names[0])).shape[2] == 3

    # Without options the metrics lie in the work dir, and there are no pictures.
    assert run_tool("test", SLIM, trained, *slim()).code == 0
    assert json.loads((tmp_path / "run/metrics.json").read_text())["metrics"] == measured["metrics"]
    assert not (tmp_path / "run/pictures").exists()


def test_a_wrong_checkpoint_ends_in_one_paragraph(run_tool, slim, tmp_path):
    torch.save({"state_dict": {"backbone.w": torch.zeros(2)}}, tmp_path / "other.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:600])
    for name, told in {
        "half.pth": "truncated or corrupt",
        "other.pth": "of another architecture than MultiViewStereo",
        "gone.pth": "there is no checkpoint file",
    }.items():
        ended = run_tool("test", SLIM, tmp_path / name, *slim())
        assert ended.code == 2
        (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
        assert name in line
        assert told in line
        assert "Traceback" not in ended.err + ended.out


def test_a_config_that_cannot_be_tested_is_told(run_tool, tmp_path):
    (tmp_path / "bare.py").write_text("model = dict(type='MultiViewStereo')\n")
    ended = run_tool("test", tmp_path / "bare.py", "a.pth")
    assert ended.code == 2
    assert "has no 'test_dataloader'" in ended.err
