"""A network from its config and its weights."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

from toolbox.registry import MODELS

from .checkpoint import load_weights


def build_model(
    config: Config, checkpoint: str | Path | None = None, device: str | torch.device | None = None
) -> BaseModel:
    """The network of a config in evaluation mode, on a device.

    Args:
        config: with ``model``; its ``custom_imports`` are imported, which a new process has not done.
        checkpoint: weights in the toolbox's format; None keeps the random start.
        device: None takes the GPU where there is one.

    Raises:
        UserError: the checkpoint cannot be read, or is of another architecture.
    """
    if config.get("custom_imports"):
        import_modules_from_strings(**config.custom_imports)
    init_default_scope(config.get("default_scope", "toolbox"))
    model = MODELS.build(config.model)
    if checkpoint is not None:
        load_weights(model, checkpoint)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
