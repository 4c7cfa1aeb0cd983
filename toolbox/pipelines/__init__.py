"""Work on whole scenes, in stages that read and write files."""

from .depth_inference import DepthFiles, SceneDepth, infer_scene_depth
from .scene_reconstruction import ReconstructionSettings, reconstruct_scene_files

__all__ = ["DepthFiles", "ReconstructionSettings", "SceneDepth", "infer_scene_depth", "reconstruct_scene_files"]
