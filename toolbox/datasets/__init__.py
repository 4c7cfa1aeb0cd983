"""Data sets over scenes: importers, view selection, samples and their augmentation."""

from .building import build_scenes
from .loading import LoadedView, load_view, working_size
from .mvs_dataset import MVSDataset

__all__ = ["LoadedView", "MVSDataset", "build_scenes", "load_view", "working_size"]
