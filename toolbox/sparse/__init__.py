"""Sparse 3D networks: voxels with features, convolutions on them, exchange with points."""

from .backends import get_backend
from .convolution import Conv3d, conv3d
from .dense import from_dense, to_dense
from .kernel_map import ConvSpec
from .layers import BatchNorm, FeatureWise, LeakyReLU, ReLU, Sigmoid, Tanh, normalize_rows
from .points import devoxelize, points_to_voxels, voxelize
from .pooling import AvgPool3d, MaxPool3d, global_avg_pool, global_max_pool
from .tensor import PointTensor, SparseTensor, batch, cat
from .voxels import VoxelFamily, VoxelSet

__all__ = [
    "AvgPool3d",
    "BatchNorm",
    "Conv3d",
    "ConvSpec",
    "FeatureWise",
    "LeakyReLU",
    "MaxPool3d",
    "PointTensor",
    "ReLU",
    "Sigmoid",
    "SparseTensor",
    "Tanh",
    "VoxelFamily",
    "VoxelSet",
    "batch",
    "cat",
    "conv3d",
    "devoxelize",
    "from_dense",
    "get_backend",
    "global_avg_pool",
    "global_max_pool",
    "normalize_rows",
    "points_to_voxels",
    "to_dense",
    "voxelize",
]
