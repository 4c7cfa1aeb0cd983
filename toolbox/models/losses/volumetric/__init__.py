"""Losses of volumetric networks: called with (VolumetricPrediction, FragmentBatch)."""

from .level_loss import VolumetricLoss
from .mpi import (
    MPIColourLoss,
    MPIDisparityLoss,
    MPIEdgeLoss,
    MPILoss,
    MPISmoothnessLoss,
    MPISSIMLoss,
    edge_disparity_map,
    log_disparity_map,
    smooth_disparity_map,
    sobel_gradients,
    ssim_map,
)
from .pair_loss import LevelViews, PairLoss, level_views
from .photometric import SDFConsistencyLoss, sdf_consistency_map
from .planar import SuperpixelPlanarLoss, plane_deviation_map, superpixel_planar_map
from .supervision import WeakSupervisionLoss, log_transform, occupancy_error_map, tsdf_error_map
from .view_pairs import ViewPairs

__all__ = [
    "LevelViews",
    "MPIColourLoss",
    "MPIDisparityLoss",
    "MPIEdgeLoss",
    "MPILoss",
    "MPISSIMLoss",
    "MPISmoothnessLoss",
    "PairLoss",
    "SDFConsistencyLoss",
    "SuperpixelPlanarLoss",
    "ViewPairs",
    "VolumetricLoss",
    "WeakSupervisionLoss",
    "edge_disparity_map",
    "level_views",
    "log_disparity_map",
    "log_transform",
    "occupancy_error_map",
    "plane_deviation_map",
    "sdf_consistency_map",
    "smooth_disparity_map",
    "sobel_gradients",
    "ssim_map",
    "superpixel_planar_map",
    "tsdf_error_map",
]
