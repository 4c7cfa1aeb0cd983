"""Whole networks, assembled from a backbone, a head and losses, and what prepares their batches."""

from .multi_view_stereo import MultiViewStereo, image_depth
from .preprocessor import MultiViewPreprocessor

__all__ = ["MultiViewPreprocessor", "MultiViewStereo", "image_depth"]
