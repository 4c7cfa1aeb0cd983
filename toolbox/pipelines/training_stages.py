"""Training and evaluation as stages of a longer run: they resume, and run again only if what they depend on changed."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from toolbox.datasets import build_scenes
from toolbox.engine import ToolboxRunner, config_mistakes, latest_checkpoint, load_checkpoint_file
from toolbox.io import atomic_path

from .stages import Manifest, describe_scene, fingerprint, fingerprint_tensors

# What decides the weights that come out of a training.
_TRAINING_KEYS = (
    "model",
    "train_dataloader",
    "train_cfg",
    "optim_wrapper",
    "param_scheduler",
    "randomness",
    "custom_hooks",
    "strict_load",
)
_EVALUATION_KEYS = ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator")


def train(config: Config, folder: Path, name: str, start: Path | None = None, made_from: Any = None) -> Path:
    """Train what a config says, to its end, in ``folder/training``; a run that was killed goes on.

    Nothing is validated on the way, and no checkpoint is chosen by validation: ground truth has no part in it.

    Args:
        start: weights to start from; None takes the config's ``load_from``, or none.
        made_from: what the labels of a ``PseudoLabelledScenes`` depend on; None where the scenes are others.

    Returns:
        ``folder/checkpoint.pth``, the weights of the last step.
    """
    config = Config(config._cfg_dict.to_dict(), filename=config.filename)
    for key in _EVALUATION_KEYS:
        config[key] = None
    config.default_hooks = {**config.get("default_hooks", {}), "pictures": None, "metrics_file": None}
    if config.default_hooks.get("checkpoint"):
        config.default_hooks.checkpoint.save_best = None
    config.work_dir = str(folder / "training")
    config.experiment_name = name
    config.load_from = str(start) if start else config.get("load_from")
    scenes = [describe_scene(scene) for scene in build_scenes(config.train_dataloader.dataset.scenes)]
    kept = {key: config._cfg_dict.to_dict().get(key) for key in _TRAINING_KEYS}
    for inference_only in ("test_num_levels", "test_downscale", "pose_refiner"):
        kept["model"].pop(inference_only, None)
    kept["train_dataloader"]["dataset"].pop("scenes")  # described by what is in them, wherever it lies
    weights = fingerprint_file(config.load_from) if config.load_from else None
    manifest, result = Manifest(folder), folder / "checkpoint.pth"
    own_files = [path for path in (folder / "training").rglob("*") if path.is_file()]
    if not manifest.begin("training", fingerprint([kept, scenes, weights, made_from]), [*own_files, result]):
        resumed = latest_checkpoint(config.work_dir)
        if resumed:
            config.load_from, config.resume = resumed, True
        with config_mistakes(config):
            ToolboxRunner.from_cfg(config).train()
        state = load_checkpoint_file(latest_checkpoint(config.work_dir))
        with atomic_path(result) as temporary:
            torch.save({"state_dict": state["state_dict"], "meta": {"config": config.pretty_text}}, temporary)
        manifest.finish("training", last=latest_checkpoint(config.work_dir))
    return result


def evaluate(config: Config, checkpoint: Path, folder: Path, stage: str = "evaluation") -> dict[str, float]:
    """Metrics of the config's test data; empty where it has none, or they have no ground truth."""
    if not config.get("test_dataloader") or not config.get("test_evaluator"):
        return {}
    scenes = build_scenes(config.test_dataloader.dataset.scenes)
    truth = [str(view.depth_path) for scene in scenes for view in scene.views if view.depth_path is not None]
    if not truth:
        return {}
    plain = config._cfg_dict.to_dict()
    manifest, out = Manifest(folder), folder / stage
    settings = {key: plain.get(key) for key in ("model", *_EVALUATION_KEYS)}
    made_from = fingerprint([settings, fingerprint_file(checkpoint), truth, [describe_scene(s) for s in scenes]])
    if not manifest.begin(stage, made_from, []):
        config = Config(plain, filename=config.filename)
        for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "val_dataloader"):
            config[key] = None
        config.val_cfg = config.val_evaluator = None
        config.work_dir, config.load_from, config.resume = str(out), str(checkpoint), False
        config.experiment_name = f"{stage}_{folder.name}"
        with config_mistakes(config):
            metrics = ToolboxRunner.from_cfg(config).test()
        manifest.finish(stage, **{name: float(value) for name, value in metrics.items()})
    return manifest.facts(stage)


def fingerprint_file(checkpoint: str | Path) -> str:
    """Hash of the weights in a checkpoint file, whatever else it holds."""
    state = load_checkpoint_file(checkpoint)
    return fingerprint_tensors(state.get("state_dict", state))
