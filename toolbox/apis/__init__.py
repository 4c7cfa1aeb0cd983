"""What notebooks import: a network, depth from it, and whole scenes by any network; plain tensors."""

from .inference import infer_depth, init_model
from .reconstruction import reconstruct_scene

__all__ = ["infer_depth", "init_model", "reconstruct_scene"]
