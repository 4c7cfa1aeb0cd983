"""Every config builds and takes two training steps on a tiny scene; every registered name builds."""

from pathlib import Path

import pytest
import torch

from toolbox.datasets import MVSDataset
from toolbox.engine import load_config
from toolbox.registry import MODELS
from toolbox.structures import Scene

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts)


def test_there_are_configs():
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_two_training_steps(path, tabletop_scene: Scene):
    config = load_config(path)
    model = MODELS.build(config.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = [p.detach().clone() for p in model.parameters()]
    settings = dict(config.train_dataloader.dataset)
    for key in ("type", "scenes"):
        settings.pop(key)
    dataset = MVSDataset(tabletop_scene, **{**settings, "size": (32, 48)})
    for step in range(2):
        data = model.data_preprocessor([dataset[step], dataset[step + 1]], True)
        losses = model(**data, mode="loss")
        assert losses and all(name.startswith("loss_") for name in losses)
        loss = sum(losses.values())
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    changed = sum(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert changed > 0.9 * len(before)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_parts_of_the_run_are_there(path):
    """The runner finds every part it builds from the config."""
    config = load_config(path)
    for key in ("model", "train_dataloader", "val_dataloader", "val_evaluator", "optim_wrapper", "train_cfg"):
        assert key in config, key
    assert config.default_scope == "toolbox"


def test_paper_size():
    config = load_config(ROOT / "configs/cvp_mvsnet/cvp_mvsnet.py")
    model = MODELS.build(config.model)
    assert sum(p.numel() for p in model.parameters()) == 551_585
    assert sum(p.numel() for p in model.backbone.parameters()) == 121_872
