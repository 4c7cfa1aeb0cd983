"""mmengine hooks, the runner, safe checkpoint loading and config handling."""

from .building import build_model
from .checkpoint import load_checkpoint_file, load_weights, register_safe_loading
from .checkpoint_conversion import convert_cvp_mvsnet, convert_monoselfrecon, convert_neuralrecon
from .config import config_mistakes, load_config, parse_options
from .distributed import LAUNCHERS, init_distributed
from .metrics_file import MetricsFileHook
from .mixed_precision import AutocastOptimWrapper
from .phases import FusionPhaseHook
from .pictures import DepthPictureHook, depth_sheet
from .runner import ToolboxRunner, latest_checkpoint
from .seeding import PositionSeedHook, seed_everything
from .sync_batch_norm import SyncBatchNorm, synchronise_batch_norms

__all__ = [
    "LAUNCHERS",
    "AutocastOptimWrapper",
    "DepthPictureHook",
    "FusionPhaseHook",
    "MetricsFileHook",
    "PositionSeedHook",
    "SyncBatchNorm",
    "ToolboxRunner",
    "build_model",
    "config_mistakes",
    "convert_cvp_mvsnet",
    "convert_monoselfrecon",
    "convert_neuralrecon",
    "depth_sheet",
    "init_distributed",
    "latest_checkpoint",
    "load_checkpoint_file",
    "load_config",
    "load_weights",
    "parse_options",
    "register_safe_loading",
    "seed_everything",
    "synchronise_batch_norms",
]

# Whoever imports the engine (a config's scope does) has mmengine's loaders replaced by the safe ones.
register_safe_loading()
