"""Losses of volumetric networks: called with (VolumetricPrediction, FragmentBatch)."""

from .level_loss import VolumetricLoss
from .pair_loss import LevelViews, PairLoss, level_views
from .photometric import SDFConsistencyLoss, sdf_consistency_map
from .planar import SuperpixelPlanarLoss, plane_deviation_map, superpixel_planar_map
from .supervision import WeakSupervisionLoss, log_transform, occupancy_error_map, tsdf_error_map
from .view_pairs import ViewPairs

__all__ = [
    "LevelViews",
    "PairLoss",
    "SDFConsistencyLoss",
    "SuperpixelPlanarLoss",
    "ViewPairs",
    "VolumetricLoss",
    "WeakSupervisionLoss",
    "level_views",
    "log_transform",
    "occupancy_error_map",
    "plane_deviation_map",
    "sdf_consistency_map",
    "superpixel_planar_map",
    "tsdf_error_map",
]
