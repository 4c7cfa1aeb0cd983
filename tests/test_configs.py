"""Every config of a multi-view stereo network builds and takes two training steps on a tiny scene."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from toolbox.datasets import MVSDataset
from toolbox.engine import load_config
from toolbox.pipelines.self_training import SelfTrainingSettings, labelled_config
from toolbox.registry import MODELS
from toolbox.structures import Scene

ROOT = Path(__file__).resolve().parents[1]
ALL = sorted(p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts)
CONFIGS = [path for path in ALL if path.parent.name in ("cvp_mvsnet", "mvsnet", "self_cvp_mvsnet")]
VOLUMETRIC = [
    path for path in ALL if path.parent.name in ("monoselfrecon", "neuralrecon")
]  # test_volumetric_configs.py
UNSUPERVISED = [path for path in CONFIGS if path.parent.name == "self_cvp_mvsnet"]


def test_there_are_configs():
    assert len(CONFIGS) >= 9
    assert len(UNSUPERVISED) == 5
    assert {*CONFIGS, *VOLUMETRIC} == {*ALL}


def take_two_steps(config: Config, scene: Scene) -> None:
    """Train on small images of the scene, and see that the losses reach the weights."""
    model = MODELS.build(config.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = [p.detach().clone() for p in model.parameters()]
    settings = dict(config.train_dataloader.dataset)
    for key in ("type", "scenes", "max_size", "depth_range"):
        settings.pop(key, None)
    dataset = MVSDataset(scene, **{**settings, "size": (32, 48)})
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
def test_two_training_steps(path, tabletop_scene: Scene):
    take_two_steps(load_config(path), tabletop_scene)


@pytest.mark.parametrize("path", UNSUPERVISED, ids=lambda p: p.stem)
def test_two_training_steps_on_labels(path, tabletop_scene: Scene, tmp_path: Path):
    config = load_config(path)
    settings = SelfTrainingSettings.from_config(config)
    take_two_steps(labelled_config(config, settings, tmp_path, number=1), tabletop_scene)


@pytest.mark.parametrize("path", UNSUPERVISED, ids=lambda p: p.stem)
def test_training_without_ground_truth_reads_none(path, tabletop_scene: Scene):
    config = load_config(path)
    assert config.train_dataloader.dataset.read_depth is False
    assert config.train_dataloader.dataset.scenes.depth is False
    assert "SupervisedDepthLoss" not in str(config.model.losses)
    assert config.default_hooks.checkpoint.save_best is None
    unlabelled = replace(tabletop_scene, views=[replace(view, depth_path=None) for view in tabletop_scene.views])
    take_two_steps(config, unlabelled)


def test_both_losses_of_a_base_are_used():
    paper = load_config(ROOT / "configs/self_cvp_mvsnet/unsup_cvp_mvsnet.py").model.losses
    mvsnet = load_config(ROOT / "configs/self_cvp_mvsnet/unsup_mvsnet.py").model.losses
    assert list(paper) == list(mvsnet) == ["colour", "ssim", "smooth"]
    assert (paper.smooth.weight, mvsnet.smooth.weight) == (0.05, 0.18)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_parts_of_the_run_are_there(path):
    """The runner finds every part it builds from the config."""
    config = load_config(path)
    for key in ("model", "train_dataloader", "optim_wrapper", "train_cfg"):
        assert key in config, key
    # One's own capture has no ground truth to validate with; there is all of the validation, or nothing.
    validated = path.stem not in ("unsup_slim_indoor", "own_capture")
    for key in ("val_dataloader", "val_evaluator", "val_cfg", "test_dataloader", "test_evaluator", "test_cfg"):
        assert (key in config) is validated, key
    assert config.default_scope == "toolbox"


def test_paper_size():
    config = load_config(ROOT / "configs/cvp_mvsnet/cvp_mvsnet.py")
    model = MODELS.build(config.model)
    assert sum(p.numel() for p in model.parameters()) == 551_585
    assert sum(p.numel() for p in model.backbone.parameters()) == 121_872
