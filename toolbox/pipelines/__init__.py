"""Work on whole scenes, in stages that read and write files."""

from .depth_inference import DepthFiles, SceneDepth, infer_scene_depth
from .executors import EXECUTORS, map_scenes
from .scene_reconstruction import ReconstructionSettings, reconstruct_scene_files
from .self_training import SelfTrainingSettings, self_train
from .self_training_report import table
from .video_reconstruction import VideoSettings, reconstruct_video_files

__all__ = [
    "EXECUTORS",
    "DepthFiles",
    "ReconstructionSettings",
    "SceneDepth",
    "SelfTrainingSettings",
    "VideoSettings",
    "infer_scene_depth",
    "map_scenes",
    "reconstruct_scene_files",
    "reconstruct_video_files",
    "self_train",
    "table",
]
