"""Sets of voxels: look-up of rows, and the coarser sets that follow from a set."""

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from toolbox.errors import UserError

from .keys import MAX_BATCH, MAX_COORDINATE, pack, unpack
from .lookup import Offset, SortedLookup, TableLookup


def floor_to_stride(coords: Int32[Tensor, "n 4"], stride: int) -> Int32[Tensor, "n 4"]:
    """Coordinates rounded down to multiples of the stride; the batch index stays."""
    floored = coords.div(stride, rounding_mode="floor") * stride
    floored[:, 0] = coords[:, 0]
    return floored


class VoxelSet:
    """Different voxels of one stride, in the order of their rows.

    Attributes:
        coords: (batch, x, y, z), in voxels of stride 1; multiples of the stride.
        stride: edge of a voxel, in voxels of stride 1.
    """

    def __init__(self, coords: Int32[Tensor, "n 4"], stride: int = 1):
        self.coords, self.stride = coords, stride

    def __len__(self) -> int:
        return self.coords.shape[0]

    @cached_property
    def _bounds(self) -> tuple[list[int], list[int]]:
        """The smallest and the largest coordinates of at least one voxel."""
        low, high = self.coords.aminmax(dim=0)
        return low.tolist(), high.tolist()

    @cached_property
    def _lookup(self) -> TableLookup | SortedLookup:
        self.check()
        if len(self) and TableLookup.fits(len(self), self.stride, *self._bounds):
            return TableLookup(self.coords, self.stride, *self._bounds)
        return SortedLookup(self.coords, self.stride)

    def find(self, coords: Int32[Tensor, "*q 4"]) -> Int64[Tensor, "*q"]:
        """The rows of the voxels at these coordinates (multiples of the stride); -1 where the set has no such voxel.

        Raises:
            UserError: coordinates of the set are out of range, not different, or no multiples of the stride.
        """
        return self._lookup.find(coords)

    def neighbours(self, coords: Int32[Tensor, "n 4"], offsets: list[Offset]) -> Int32[Tensor, "k n"]:
        """The rows of the voxels that lie (x, y, z) away from voxels, for each of the offsets; -1 where there is none.

        Raises:
            UserError: see ``find``.
        """
        return self._lookup.neighbours(coords, offsets)

    def surroundings(self, offsets: list[Offset]) -> Int32[Tensor, "n k"]:
        """The rows of the voxels that lie (x, y, z) away from each voxel, in their ``order``; -1 where there is none.

        Args:
            offsets: multiples of the stride.

        Raises:
            UserError: see ``find``.
        """
        return self._lookup.surroundings(offsets)

    @property
    def order(self) -> Int32[Tensor, " n"]:
        """The rows, sorted by (batch, x, y, z) of their voxels.

        Raises:
            UserError: see ``find``.
        """
        return self._lookup.order

    def same_voxels(self, other: "VoxelSet") -> bool:
        """Whether both have the same voxels in the same rows."""
        return self is other or (self.stride == other.stride and torch.equal(self.coords, other.coords))

    def check(self) -> None:
        """Raise UserError where coordinates are out of range, or no multiples of the stride."""
        if not len(self):
            return
        (low_batch, *low), (high_batch, *high) = self._bounds
        uneven = self.stride > 1 and bool((self.coords[:, 1:] % self.stride).any())
        if low_batch < 0 or high_batch >= MAX_BATCH:
            raise UserError("sparse tensor", f"batch index {low_batch} to {high_batch}", f"Use 0 to {MAX_BATCH - 1}")
        if min(low) < -MAX_COORDINATE or max(high) > MAX_COORDINATE:
            raise UserError(
                "sparse tensor",
                f"coordinates from {min(low)} to {max(high)}, but only up to +-{MAX_COORDINATE} are possible",
                "Move the origin of the coordinates, or use larger voxels",
            )
        if uneven:
            raise UserError(
                "sparse tensor",
                f"coordinates are no multiples of the stride {self.stride}",
                "Coordinates count voxels of stride 1: multiply those of a coarser grid by its stride",
            )


class VoxelFamily:
    """A set of voxels, the coarser sets made from it, and what was computed about them once and is needed again.

    Attributes:
        levels: the sets by stride.
        cache: kernel maps and the like; each user has keys of its own.
    """

    def __init__(self, voxels: VoxelSet):
        self.levels = {voxels.stride: voxels}
        self.cache: dict[tuple, Any] = {}

    def coarser(self, stride: int, factor: int) -> VoxelSet:
        """The voxels of stride ``stride * factor`` that hold those of ``stride``, sorted by (batch, x, y, z)."""
        coarse = stride * factor
        if coarse not in self.levels:
            fine = self.levels[stride]
            fine.check()
            self.levels[coarse] = distinct_voxels(floor_to_stride(fine.coords, coarse), coarse)
        return self.levels[coarse]

    def finer(self, stride: int, factor: int) -> VoxelSet:
        """The voxels of stride ``stride / factor`` that the set of ``stride`` was made from.

        Raises:
            UserError: there are none.
        """
        fine = stride // factor
        if stride % factor or fine not in self.levels:
            raise UserError(
                "transposed sparse convolution",
                f"there are no finer voxels for a tensor of stride {stride} and a factor of {factor}",
                "A transposed convolution returns to the voxels that a strided one (or a pooling) came from",
            )
        return self.levels[fine]

    def parents(self, stride: int, factor: int) -> Int64[Tensor, " n"]:
        """For each voxel of ``stride``, the row of the one of ``stride * factor`` that holds it."""
        key = ("parents", stride, factor)
        if key not in self.cache:
            coarse = self.coarser(stride, factor)
            self.cache[key] = coarse.find(floor_to_stride(self.levels[stride].coords, coarse.stride))
        return self.cache[key]


def distinct_voxels(coords: Int32[Tensor, "n 4"], stride: int = 1) -> VoxelSet:
    """The set of these voxels, each once, sorted by (batch, x, y, z)."""
    return VoxelSet(unpack(torch.unique(pack(coords))), stride)


def voxels_of_points(coords: Float[Tensor, "n 4"], stride: int = 1) -> Int32[Tensor, "n 4"]:
    """The voxels that hold points (batch, x, y, z), given in voxels of stride 1.

    Raises:
        UserError: a coordinate is not finite, or too large for a voxel.
    """
    floored = torch.cat((coords[:, :1], (coords[:, 1:] / stride).floor() * stride), dim=1)
    inside: Bool[Tensor, ""] = (floored.abs() <= MAX_COORDINATE).all()
    if not bool(inside):
        raise UserError(
            "points",
            f"coordinates are not finite, or beyond {MAX_COORDINATE} voxels",
            "Remove such points, move the origin of the coordinates, or use larger voxels",
        )
    return floored.int()
