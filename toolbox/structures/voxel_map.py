"""What a scene has at its voxels so far, changed window by window."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class VoxelMap:
    """Features at voxels of one scene.

    Attributes:
        coords: (x, y, z), every voxel once.
        feats: a row for each voxel.
    """

    coords: Int64[Tensor, "n 3"]
    feats: Float[Tensor, "n c"]

    @classmethod
    def empty(cls, like: Float[Tensor, "_ c"]) -> "VoxelMap":
        """No voxels, with as many channels as ``like``."""
        return cls(torch.zeros(0, 3, dtype=torch.int64, device=like.device), like[:0].detach())

    def __len__(self) -> int:
        return self.coords.shape[0]

    def inside(self, start: Int64[Tensor, "3"], shape: tuple[int, int, int]) -> Bool[Tensor, " n"]:
        """Which voxels lie in the window whose first voxel is ``start``."""
        index = self.coords - start
        return ((index >= 0) & (index < index.new_tensor(shape))).all(dim=1)

    def select(self, rows: Bool[Tensor, " n"]) -> "VoxelMap":
        """Some of the voxels."""
        return VoxelMap(self.coords[rows], self.feats[rows])

    def joined(self, other: "VoxelMap") -> "VoxelMap":
        """All voxels of both; the other's features where both have one. Sorted by (x, y, z)."""
        coords, rows = distinct_rows(torch.cat((self.coords, other.coords)))
        feats = self.feats.new_zeros(len(coords), self.feats.shape[1])
        feats[rows[: len(self)]] = self.feats
        feats[rows[len(self) :]] = other.feats.to(feats.dtype)
        return VoxelMap(coords, feats)

    def substituted(self, start: Int64[Tensor, "3"], shape: tuple[int, int, int], inner: "VoxelMap") -> "VoxelMap":
        """The same map with nothing but ``inner`` in a window."""
        outer = self.select(~self.inside(start, shape))
        return VoxelMap(torch.cat((outer.coords, inner.coords)), torch.cat((outer.feats, inner.feats)))

    def lookup(self, coords: Int64[Tensor, "m 3"], default: float = 0.0) -> Float[Tensor, "m c"]:
        """Features at some (different) voxels, ``default`` where the map has none."""
        joined, rows = distinct_rows(torch.cat((self.coords, coords)))
        feats = self.feats.new_full((len(joined), self.feats.shape[1]), default)
        feats[rows[: len(self)]] = self.feats
        return feats[rows[len(self) :]]


_BITS = 21
_CENTRE = 1 << (_BITS - 1)


def distinct_rows(coords: Int64[Tensor, "n 3"]) -> tuple[Int64[Tensor, "m 3"], Int64[Tensor, " n"]]:
    """The different voxels (x, y, z) of a list, sorted, and the place of each of the list among them.

    Coordinates are within +-1,048,575. As ``torch.unique`` of rows, many times as fast.
    """
    x, y, z = (coords + _CENTRE).unbind(dim=1)
    keys, places = torch.unique((x << 2 * _BITS) + (y << _BITS) + z, return_inverse=True)
    mask = (1 << _BITS) - 1
    return torch.stack((keys >> 2 * _BITS, keys >> _BITS & mask, keys & mask), dim=1) - _CENTRE, places
