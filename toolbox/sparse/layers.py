"""Layers that treat every voxel for itself."""

import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .tensor import SparseTensor


def normalize_rows(norm: nn.Module, rows: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Batch normalisation of rows; fewer than two are normalised with the running statistics, which stay as they are.

    Without running statistics, fewer than two are taken for their own mean.

    Args:
        norm: ``nn.BatchNorm1d``, or a synchronised one in its place, which counts the rows of all processes.
    """
    if norm.running_mean is None and len(rows) < 2:
        return rows * 0 + norm.bias
    elsewhere = not isinstance(norm, nn.BatchNorm1d) and dist.is_available() and dist.is_initialized()
    if not norm.training or len(rows) > 1 or elsewhere:
        return norm(rows)
    return F.batch_norm(rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


class FeatureWise(nn.Module):
    """Applies a module for rows of features, such as ``nn.Linear``, to the features of a sparse tensor."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Features change, voxels do not."""
        return x.replace(self.module(x.feats))


class BatchNorm(nn.Module):
    """Batch normalisation over all voxels of a batch.

    A batch of fewer than two voxels has no variance: it is normalised with the running statistics, and does not
    change them. ``norm`` is a plain ``nn.BatchNorm1d``, which what converts to synchronised ones finds.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Features change, voxels do not."""
        return x.replace(normalize_rows(self.norm, x.feats))


class ReLU(FeatureWise):
    """max(x, 0)."""

    def __init__(self, inplace: bool = False):
        super().__init__(nn.ReLU(inplace))


class LeakyReLU(FeatureWise):
    """max(x, slope x)."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(nn.LeakyReLU(negative_slope, inplace))


class Sigmoid(FeatureWise):
    """1 / (1 + exp(-x))."""

    def __init__(self):
        super().__init__(nn.Sigmoid())


class Tanh(FeatureWise):
    """Hyperbolic tangent."""

    def __init__(self):
        super().__init__(nn.Tanh())
