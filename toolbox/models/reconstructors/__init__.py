"""Whole networks, assembled from a backbone, a neck, heads and losses, and what prepares their batches."""

from .fragment_preprocessor import FragmentPreprocessor
from .multi_view_stereo import MultiViewStereo, image_depth
from .preprocessor import MultiViewPreprocessor
from .volumetric import VolumetricReconstructor

__all__ = [
    "FragmentPreprocessor",
    "MultiViewPreprocessor",
    "MultiViewStereo",
    "VolumetricReconstructor",
    "image_depth",
]
