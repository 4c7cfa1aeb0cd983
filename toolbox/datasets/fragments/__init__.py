"""Videos for volumetric networks: keyframes, fragments, windows of voxels, truth, and the order of samples."""

from .augmentation import RandomPlacement
from .dataset import FragmentDataset
from .keyframes import KeyframeRule, rotation_angle, select_keyframes, split_fragments
from .plain_pickle import read_plain_pickle
from .published import read_published_fragments, read_published_info
from .sampler import SceneOrderSampler
from .scene_fragments import (
    SceneFragments,
    VolumeInfo,
    read_fragments,
    read_volume,
    select_fragments,
    write_fragments,
    write_volume,
)
from .volume_frame import estimate_up, world_to_volume
from .windows import WindowSettings, level_camera, resample_tsdf, seen_surface, window_origin

__all__ = [
    "FragmentDataset",
    "KeyframeRule",
    "RandomPlacement",
    "SceneFragments",
    "SceneOrderSampler",
    "VolumeInfo",
    "WindowSettings",
    "estimate_up",
    "level_camera",
    "read_fragments",
    "read_plain_pickle",
    "read_published_fragments",
    "read_published_info",
    "read_volume",
    "resample_tsdf",
    "rotation_angle",
    "seen_surface",
    "select_fragments",
    "select_keyframes",
    "split_fragments",
    "window_origin",
    "world_to_volume",
    "write_fragments",
    "write_volume",
]
