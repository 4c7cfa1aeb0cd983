"""What notebooks import: three functions, plain tensors."""

from .inference import infer_depth, init_model
from .reconstruction import reconstruct_scene

__all__ = ["infer_depth", "init_model", "reconstruct_scene"]
