"""Losses: called with (prediction, batch), each returns one scalar; its functional twin returns a map and a mask."""

from .multi_level import MultiLevelLoss, images_at_level, masked_mean
from .occlusion import hidden_from_sources
from .perceptual import PerceptualLoss, VGG16Features, load_vgg16, perceptual_map
from .photometric import PHOTOMETRIC_ERRORS
from .smoothness import DepthSmoothnessLoss, normalised_inverse_depth, smoothness_map
from .supervised import SupervisedDepthLoss, depth_error_map
from .view_synthesis import ViewSynthesisLoss, select_sources, synthesise_reference, view_synthesis_map

__all__ = [
    "PHOTOMETRIC_ERRORS",
    "DepthSmoothnessLoss",
    "MultiLevelLoss",
    "PerceptualLoss",
    "SupervisedDepthLoss",
    "VGG16Features",
    "ViewSynthesisLoss",
    "depth_error_map",
    "hidden_from_sources",
    "images_at_level",
    "load_vgg16",
    "masked_mean",
    "normalised_inverse_depth",
    "perceptual_map",
    "select_sources",
    "smoothness_map",
    "synthesise_reference",
    "view_synthesis_map",
]
