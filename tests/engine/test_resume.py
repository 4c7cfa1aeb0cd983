"""An interrupted and resumed run ends exactly where an uninterrupted one does."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from toolbox.engine import latest_checkpoint, load_checkpoint_file
from toolbox.errors import UserError
from toolbox.registry import HOOKS


@HOOKS.register_module(force=True)
class InterruptAt(Hook):
    """Ctrl-C in the middle of a run."""

    def __init__(self, step: int):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.step:
            raise KeyboardInterrupt


def state_of(runner) -> dict:
    """All numbers of the end of a run: weights, optimizer, schedules, logged losses."""
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    return {
        "weights": {name: value.clone() for name, value in runner.model.state_dict().items()},
        "optimizer": runner.optim_wrapper.state_dict(),
        "rate": runner.optim_wrapper.get_lr()["lr"],
        "schedules": [s.last_step for s in runner.param_schedulers],
        "losses": losses.tolist(),
        "best": runner.message_hub.get_info("best_score"),
    }


@pytest.mark.parametrize("by_epoch", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tiny_config, train, tmp_path, by_epoch, mixed):
    wrapper = {"optim_wrapper.type": "AutocastOptimWrapper"} if mixed else {}
    straight = state_of(train(tiny_config(by_epoch, work_dir=str(tmp_path / "straight"), **wrapper)))

    halves = {"work_dir": str(tmp_path / "halves"), **wrapper}
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(by_epoch, **halves, custom_hooks=[{"type": "InterruptAt", "step": 4 if by_epoch else 2}]))
    checkpoint = latest_checkpoint(tmp_path / "halves")
    assert Path(checkpoint).name == ("epoch_2.pth" if by_epoch else "iter_2.pth")
    resumed = state_of(train(tiny_config(by_epoch, **halves, load_from=checkpoint, resume=True)))

    torch.testing.assert_close(resumed["weights"], straight["weights"], rtol=0, atol=0)
    torch.testing.assert_close(resumed["optimizer"]["state"], straight["optimizer"]["state"], rtol=0, atol=0)
    for name in ("rate", "schedules", "losses", "best"):
        assert resumed[name] == straight[name], name
    assert len(straight["losses"]) == (8 if by_epoch else 4)


@pytest.mark.parametrize("by_epoch", [False, True])
def test_a_run_can_be_prolonged(tiny_config, train, tmp_path, by_epoch):
    straight = state_of(train(tiny_config(by_epoch, work_dir=str(tmp_path / "straight"))))
    length = "train_cfg.max_epochs" if by_epoch else "train_cfg.max_iters"
    train(tiny_config(by_epoch, **{length: 2}))
    checkpoint = latest_checkpoint(tmp_path / "run")
    resumed = state_of(train(tiny_config(by_epoch, load_from=checkpoint, resume=True)))
    torch.testing.assert_close(resumed["weights"], straight["weights"], rtol=0, atol=0)
    assert resumed["rate"] == straight["rate"] == [0.0025]


def test_the_seed_decides_and_repeats(tiny_config, train):
    runs = [train(tiny_config(False, **{"randomness.seed": seed})) for seed in (1, 1, 2)]
    weights = [run.model.state_dict()["features.weight"] for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_checkpoints_are_whole_and_few(tiny_config, train, tmp_path):
    train(tiny_config(True, **{"default_hooks.checkpoint.max_keep_ckpts": 2}))
    names = {path.name for path in (tmp_path / "run").glob("*.pth")}
    assert {"epoch_3.pth", "epoch_4.pth"} < names
    assert len([name for name in names if name.startswith("best_depth_abs_rel")]) == 1
    assert not list((tmp_path / "run").glob(".*.pth"))


def test_weights_alone_cannot_be_resumed(tiny_config, train, tmp_path):
    runner = train(tiny_config(False))
    torch.save(runner.model.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="not the state of a training run"):
        train(tiny_config(False, load_from=str(tmp_path / "weights.pth"), resume=True))


def test_another_architecture_is_refused_unless_the_config_takes_what_fits(tiny_config, train, tmp_path):
    train(tiny_config(False))
    other = {"load_from": str(tmp_path / "run/iter_4.pth"), "model.channels": 7}
    with pytest.raises(UserError, match="another architecture than TinyDepth"):
        train(tiny_config(False, **other))
    partial = load_checkpoint_file(other["load_from"])
    partial["state_dict"] = {k: v for k, v in partial["state_dict"].items() if k.startswith("features")}
    torch.save(partial, tmp_path / "part.pth")
    frozen = {"optim_wrapper.optimizer.lr": 0.0}
    runner = train(tiny_config(False, load_from=str(tmp_path / "part.pth"), strict_load=False, **frozen))
    assert torch.equal(runner.model.state_dict()["features.bias"], partial["state_dict"]["features.bias"])


def test_the_latest_checkpoint_follows_a_moved_work_dir(tiny_config, train, tmp_path):
    assert latest_checkpoint(tmp_path / "run") is None
    train(tiny_config(False))
    (tmp_path / "run").rename(tmp_path / "moved")
    assert latest_checkpoint(tmp_path / "moved") == str(tmp_path / "moved/iter_4.pth")
