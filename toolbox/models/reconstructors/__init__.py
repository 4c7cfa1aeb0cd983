"""Whole networks, assembled from a backbone, a neck, heads and losses, and what prepares their batches."""

from .distinctness import photometric_distinctness
from .fragment_preprocessor import FragmentPreprocessor
from .multi_view_stereo import MultiViewStereo, image_depth
from .pose_refinement import PhotometricPoseRefiner
from .preprocessor import MultiViewPreprocessor
from .scene_pose_refinement import PoseRefinementSettings, ScenePoseRefinement
from .volumetric import VolumetricReconstructor

__all__ = [
    "FragmentPreprocessor",
    "MultiViewPreprocessor",
    "MultiViewStereo",
    "PhotometricPoseRefiner",
    "PoseRefinementSettings",
    "ScenePoseRefinement",
    "VolumetricReconstructor",
    "image_depth",
    "photometric_distinctness",
]
