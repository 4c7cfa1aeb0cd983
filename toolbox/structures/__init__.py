"""What flows between the rooms: scenes and views, batches, predictions."""

from .batch import DepthPrediction, MultiViewBatch
from .multiplane import RenderedPair, RenderedView
from .scene import LeftOut, Scene, SparsePoints, View
from .volumetric import FragmentBatch, SparseTSDF, VolumetricPrediction, voxel_positions
from .voxel_map import VoxelMap, distinct_rows

__all__ = [
    "DepthPrediction",
    "FragmentBatch",
    "LeftOut",
    "MultiViewBatch",
    "RenderedPair",
    "RenderedView",
    "Scene",
    "SparsePoints",
    "SparseTSDF",
    "View",
    "VolumetricPrediction",
    "VoxelMap",
    "distinct_rows",
    "voxel_positions",
]
