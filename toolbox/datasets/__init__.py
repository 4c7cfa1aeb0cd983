"""Data sets over scenes: importers, view selection, samples and their augmentation."""

from .loading import LoadedView, load_view
from .mvs_dataset import MVSDataset, build_scenes

__all__ = ["LoadedView", "MVSDataset", "build_scenes", "load_view"]
