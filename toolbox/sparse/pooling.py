"""Pooling: over the voxels of a coarser voxel, and over a whole grid."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .row_sums import RowSums
from .tensor import SparseTensor


class _Pool(nn.Module):
    """Pooling from the voxels of a stride to those that hold them."""

    def __init__(self, stride: int = 2):
        super().__init__()
        self.stride = stride

    def extra_repr(self) -> str:
        """The factor."""
        return f"stride={self.stride}"


class AvgPool3d(_Pool):
    """The mean over the voxels that are there in each voxel of a grid ``stride`` times coarser."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The output's voxels are those of a convolution with the same stride."""
        coarse = x.family.coarser(x.stride, self.stride)
        key = ("average", x.stride, self.stride, x.feats.dtype)
        if key not in x.family.cache:
            parents = x.family.parents(x.stride, self.stride)
            x.family.cache[key] = _means(parents, len(coarse), x.feats)
        return x.at_stride(coarse.stride, x.family.cache[key](x.feats))


class MaxPool3d(_Pool):
    """The maximum over the voxels that are there in each voxel of a grid ``stride`` times coarser."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The output's voxels are those of a convolution with the same stride."""
        coarse = x.family.coarser(x.stride, self.stride)
        return x.at_stride(coarse.stride, _maxima(x.feats, x.family.parents(x.stride, self.stride), len(coarse)))


def global_avg_pool(x: SparseTensor, batch_size: int | None = None) -> Float[Tensor, "b c"]:
    """The mean over all voxels of each grid of the batch; 0 for a grid without voxels."""
    size = x.batch_size if batch_size is None else batch_size
    return _means(x.coords[:, 0].long(), size, x.feats)(x.feats)


def global_max_pool(x: SparseTensor, batch_size: int | None = None) -> Float[Tensor, "b c"]:
    """The maximum over all voxels of each grid of the batch; 0 for a grid without voxels."""
    return _maxima(x.feats, x.coords[:, 0].long(), x.batch_size if batch_size is None else batch_size)


def _means(groups: Tensor, num_groups: int, like: Tensor) -> RowSums:
    precision = torch.promote_types(like.dtype, torch.float32)
    weights = 1 / torch.bincount(groups, minlength=num_groups)[groups].to(precision)
    return RowSums(torch.arange(len(groups), device=groups.device), groups, weights, len(groups), num_groups)


def _maxima(feats: Float[Tensor, "n c"], groups: Tensor, num_groups: int) -> Float[Tensor, "m c"]:
    zeros = feats.new_zeros(num_groups, feats.shape[1])
    return zeros.scatter_reduce(0, groups[:, None].expand_as(feats), feats, "amax", include_self=False)
