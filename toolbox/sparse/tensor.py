"""What sparse layers take and give: features at voxels, and features at points."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from toolbox.errors import UserError

from .voxels import VoxelFamily, VoxelSet


@dataclass(eq=False)
class SparseTensor:
    """Features at some voxels of a batch of grids; everywhere else they are zero.

    Tensors made from one another share a family: coarser voxels, neighbours and the like are found once for all.

    Attributes:
        coords: (batch, x, y, z), every voxel once, in voxels of stride 1 whatever the stride (multiples of it); in
            any order.
        feats: a row for each voxel.
        stride: edge of a voxel, in voxels of stride 1.
        family: left out when a tensor is made from coordinates.

    Raises:
        UserError: by the first layer that looks for neighbours, where coordinates are out of range, not
            different or no multiples of the stride.
    """

    coords: Int32[Tensor, "n 4"]
    feats: Float[Tensor, "n c"]
    stride: int = 1
    family: VoxelFamily | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.family is None:
            self.family = VoxelFamily(VoxelSet(self.coords, self.stride))

    @property
    def voxels(self) -> VoxelSet:
        """The voxels without features."""
        return self.family.levels[self.stride]

    @property
    def batch_size(self) -> int:
        """One more than the largest batch index; 0 if there are no voxels."""
        return int(self.coords[:, 0].max()) + 1 if len(self) else 0

    def __len__(self) -> int:
        return self.coords.shape[0]

    def replace(self, feats: Float[Tensor, "n c"]) -> "SparseTensor":
        """Other features at the same voxels."""
        return SparseTensor(self.coords, feats, self.stride, self.family)

    def at_stride(self, stride: int, feats: Float[Tensor, "n c"]) -> "SparseTensor":
        """Features at the voxels that the family has for another stride."""
        return SparseTensor(self.family.levels[stride].coords, feats, stride, self.family)

    def to(self, device: torch.device | str) -> "SparseTensor":
        """The tensor on ``device``, with a family of its own; itself if it is there already."""
        if self.feats.device == torch.device(device):
            return self
        return SparseTensor(self.coords.to(device), self.feats.to(device), self.stride)

    def __add__(self, other: "SparseTensor") -> "SparseTensor":
        """Sum of features.

        Raises:
            UserError: the voxels differ.
        """
        _require_same_voxels((self, other))
        return self.replace(self.feats + other.feats)


@dataclass(eq=False)
class PointTensor:
    """Features at points of a batch of scenes.

    Attributes:
        coords: (batch, x, y, z); for what exchanges features with voxels, in voxels of stride 1 (``in_voxels``).
        feats: a row for each point.
        cache: which points and voxels exchange features, kept for all tensors made by ``replace``.
    """

    coords: Float[Tensor, "n 4"]
    feats: Float[Tensor, "n c"]
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.coords.shape[0]

    def replace(self, feats: Float[Tensor, "n c"]) -> "PointTensor":
        """Other features at the same points."""
        return PointTensor(self.coords, feats, self.cache)

    def in_voxels(self, voxel_size: float) -> "PointTensor":
        """The same points, in voxels of an edge of ``voxel_size`` units of the coordinates."""
        return PointTensor(torch.cat((self.coords[:, :1], self.coords[:, 1:] / voxel_size), dim=1), self.feats)

    def to(self, device: torch.device | str) -> "PointTensor":
        """The points on ``device``; themselves if they are there already."""
        if self.feats.device == torch.device(device):
            return self
        return PointTensor(self.coords.to(device), self.feats.to(device))


def cat(tensors: Sequence[SparseTensor]) -> SparseTensor:
    """The channels of tensors with the same voxels, side by side.

    Raises:
        UserError: the voxels differ.
    """
    _require_same_voxels(tensors)
    return tensors[0].replace(torch.cat([tensor.feats for tensor in tensors], dim=1))


def batch(tensors: Sequence[SparseTensor]) -> SparseTensor:
    """Tensors of one stride as one: the batch indices of each follow those of the one before."""
    if len({tensor.stride for tensor in tensors}) != 1:
        strides = [tensor.stride for tensor in tensors]
        raise UserError("sparse batch", f"strides {strides} differ", "Put tensors of one stride into a batch")
    coords, first = [], 0
    for tensor in tensors:
        shifted = tensor.coords.clone()
        shifted[:, 0] += first
        coords.append(shifted)
        first += tensor.batch_size
    return SparseTensor(torch.cat(coords), torch.cat([tensor.feats for tensor in tensors]), tensors[0].stride)


def _require_same_voxels(tensors: Sequence[SparseTensor]) -> None:
    first = tensors[0].voxels
    if not all(first.same_voxels(tensor.voxels) for tensor in tensors[1:]):
        described = ", ".join(f"{len(tensor)} voxels of stride {tensor.stride}" for tensor in tensors)
        raise UserError(
            "sparse tensors", f"have different voxels ({described})", "Only tensors made from one another go together"
        )
