"""Losses: called with (prediction, batch), each returns one scalar; its functional twin returns a map and a mask.

A loss that sets ``needs_predictor`` is called with (prediction, batch, predict): the network, for another pass.
"""

from .augmentation import AugmentationConsistencyLoss, confident_depth, jittered_colours, random_patches
from .multi_level import MultiLevelLoss, images_at_level, masked_mean
from .occlusion import hidden_from_sources
from .perceptual import PerceptualLoss, VGG16Features, load_vgg16, perceptual_map
from .photometric import PHOTOMETRIC_ERRORS
from .smoothness import DepthSmoothnessLoss, normalised_inverse_depth, smoothness_map
from .supervised import SupervisedDepthLoss, depth_error_map
from .synthesis import LevelViews, level_views, shared_level_views, synthesise_reference
from .view_synthesis import ViewSynthesisLoss, select_sources, view_synthesis_map
from .volumetric import (
    MPIColourLoss,
    MPIDisparityLoss,
    MPIEdgeLoss,
    MPISmoothnessLoss,
    MPISSIMLoss,
    SDFConsistencyLoss,
    SuperpixelPlanarLoss,
    WeakSupervisionLoss,
)

__all__ = [
    "PHOTOMETRIC_ERRORS",
    "AugmentationConsistencyLoss",
    "DepthSmoothnessLoss",
    "LevelViews",
    "MPIColourLoss",
    "MPIDisparityLoss",
    "MPIEdgeLoss",
    "MPISSIMLoss",
    "MPISmoothnessLoss",
    "MultiLevelLoss",
    "PerceptualLoss",
    "SDFConsistencyLoss",
    "SuperpixelPlanarLoss",
    "SupervisedDepthLoss",
    "VGG16Features",
    "ViewSynthesisLoss",
    "WeakSupervisionLoss",
    "confident_depth",
    "depth_error_map",
    "hidden_from_sources",
    "images_at_level",
    "jittered_colours",
    "level_views",
    "load_vgg16",
    "masked_mean",
    "normalised_inverse_depth",
    "perceptual_map",
    "random_patches",
    "select_sources",
    "shared_level_views",
    "smoothness_map",
    "synthesise_reference",
    "view_synthesis_map",
]
