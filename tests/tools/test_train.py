"""tools/train.py on the slim configuration, alone and in two processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toolbox.engine import load_checkpoint_file

ROOT = Path(__file__).resolve().parents[2]
SLIM = ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint_file(path)["state_dict"]


def test_a_run_leaves_checkpoints_metrics_and_pictures(run_tool, slim, tmp_path):
    ended = run_tool("train", SLIM, *slim())
    assert ended.code == 0, ended.err
    run = tmp_path / "run"
    assert {path.name for path in run.glob("iter_*.pth")} == {"iter_1.pth", "iter_2.pth"}
    assert len(list(run.glob("best_depth_abs_rel_*.pth"))) == 1
    assert json.loads((run / "metrics.json").read_text())["metrics"]["depth/coverage"] > 0.9
    assert len(list((run / "pictures/iter_0000002").glob("*.png"))) == 4
    scalars = [json.loads(line) for line in next(run.glob("*/vis_data/scalars.json")).read_text().splitlines()]
    assert "depth/abs_rel" in scalars[-1]


def test_resume_goes_on_and_auto_starts_where_there_is_nothing(run_tool, slim, tmp_path):
    assert run_tool("train", SLIM, "--resume", *slim("train_cfg.max_iters=4")).code == 0
    straight = weights(tmp_path / "run/iter_4.pth")
    (tmp_path / "run").rename(tmp_path / "straight")
    assert run_tool("train", SLIM, "--resume", *slim()).code == 0
    assert run_tool("train", SLIM, "--resume", *slim("train_cfg.max_iters=4")).code == 0
    torch.testing.assert_close(weights(tmp_path / "run/iter_4.pth"), straight, rtol=0, atol=0)
    (tmp_path / "run").rename(tmp_path / "auto")
    named = tmp_path / "auto/iter_2.pth"
    assert run_tool("train", SLIM, "--resume", named, *slim("train_cfg.max_iters=4")).code == 0
    torch.testing.assert_close(weights(tmp_path / "run/iter_4.pth"), straight, rtol=0, atol=0)


def test_seed_and_mixed_precision_change_the_run(run_tool, slim, tmp_path):
    results = []
    for flags in ([], ["--seed", "7"], ["--amp"]):
        ended = run_tool("train", SLIM, *flags, *slim())
        assert ended.code == 0, ended.err
        results.append(weights(tmp_path / "run/iter_2.pth"))
        assert all(value.isfinite().all() for value in results[-1].values())
        (tmp_path / "run").rename(tmp_path / f"run_{len(results)}")
    name = "backbone.convs.0.conv.weight"
    assert not torch.equal(results[0][name], results[1][name])
    assert not torch.equal(results[0][name], results[2][name])
    torch.testing.assert_close(results[0][name], results[2][name], rtol=0, atol=0.05)
    assert "'AutocastOptimWrapper'" in next((tmp_path / "run_3").glob("*/vis_data/config.py")).read_text()


def test_two_processes_train_as_one_with_twice_the_batch(run_tool, slim, tmp_path):
    """With plain gradient descent and without augmentation, the averaged gradients are those of the joint batch."""
    same = ("train_dataloader.dataset.transforms=[]", "optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.1}")
    same += ("model.head.regularizer.norm=batch", "sync_bn=torch")
    assert run_tool("train", SLIM, *slim(*same, "train_dataloader.batch_size=2")).code == 0
    (tmp_path / "run").rename(tmp_path / "one")
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [ROOT / "tools/dist_train.sh", SLIM, "2", *slim(*same, "train_dataloader.batch_size=1")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (weights(tmp_path / run / "iter_2.pth") for run in ("one", "run"))
    start = weights(tmp_path / "one/iter_1.pth")
    assert any(not torch.equal(start[name], one[name]) for name in one)
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
    metrics = [json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("one", "run")]
    assert metrics[1]["reports"][0]["counts"] == metrics[0]["reports"][0]["counts"]
    assert metrics[1]["metrics"]["depth/abs_rel"] == pytest.approx(metrics[0]["metrics"]["depth/abs_rel"], rel=1e-3)
    assert not list(tmp_path.glob(".dist_test*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model.backbone.type=PyramidFeatuers"], "no component of that name.*PyramidFeatures"),
        (["default_hooks.logger.type=LogerHook"], "no component of that name.*LoggerHook"),
        (["optim_wrapper.optimizer.lrr=1"], "type='AdamW'.*unexpected keyword argument 'lrr'"),
        (["trian_cfg.max_iters=3"], "has no 'trian_cfg'"),
        (["val_interval"], "is not of the form key=value"),
        (["train_dataloader.dataset.scenes.root=/nowhere"], "/nowhere"),
        (["load_from=gone.pth"], "gone.pth: there is no checkpoint"),
    ],
)
def test_a_mistake_ends_in_one_paragraph(run_tool, slim, arguments, told):
    ended = run_tool("train", SLIM, *slim(*arguments))
    assert ended.code == 2
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert re.search(told, line), line
    assert "Traceback" not in ended.err + ended.out


def test_a_missing_config_ends_in_one_paragraph(run_tool):
    ended = run_tool("train", SLIM.with_name("cvp_mvsnet_slin.py"))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "Near it lie: cvp_mvsnet_slim.py" in ended.err


def test_a_launcher_that_started_nothing_is_told(run_tool, slim, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    ended = run_tool("train", SLIM, "--launcher", "pytorch", *slim())
    assert ended.code == 2
    assert "was not started by that launcher" in ended.err
