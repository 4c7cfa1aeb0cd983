"""Importers: from the files of many formats to one ``Scene``. Importing this package registers them all."""

from .any_scene import AnyScene, with_depth_ranges
from .colmap import ColmapScene
from .dtu import DTUTest, DTUTraining
from .folder import FolderScene
from .labelled import PseudoLabelledScenes, label_folder_name
from .mvsnet import MVSNetScene
from .opening import open_scene
from .refined import RefinedScenes, read_poses, with_poses, write_poses
from .scannet import ScanNetScene
from .scannet_sens import ScanNetSens
from .seven_scenes import SevenScenes
from .transforms_json import TransformsScene
from .triangulation import triangulate_sparse_points

__all__ = [
    "AnyScene",
    "ColmapScene",
    "DTUTest",
    "DTUTraining",
    "FolderScene",
    "MVSNetScene",
    "PseudoLabelledScenes",
    "RefinedScenes",
    "ScanNetScene",
    "ScanNetSens",
    "SevenScenes",
    "TransformsScene",
    "label_folder_name",
    "open_scene",
    "read_poses",
    "triangulate_sparse_points",
    "with_depth_ranges",
    "with_poses",
    "write_poses",
]
