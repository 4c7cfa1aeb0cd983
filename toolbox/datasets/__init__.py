"""Data sets over scenes: importers, view selection, samples and their augmentation."""

from .building import build_scenes
from .fragments import FragmentDataset, SceneOrderSampler
from .loading import LoadedView, load_view, working_size
from .mvs_dataset import MVSDataset

__all__ = [
    "FragmentDataset",
    "LoadedView",
    "MVSDataset",
    "SceneOrderSampler",
    "build_scenes",
    "load_view",
    "working_size",
]
