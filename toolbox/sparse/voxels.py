"""Sets of voxels: integer keys, look-up of rows, and the coarser sets that follow from a set."""

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from toolbox.errors import UserError

_AXIS_BITS = 17
_CENTRE = 1 << (_AXIS_BITS - 1)
_MAX_BATCH = 1 << 12
# Neighbours of a voxel have keys, too: coordinates stay this far away from the ends of their bits.
MAX_REACH = 1 << 12
MAX_COORDINATE = _CENTRE - MAX_REACH - 1
_LAST_KEY = torch.iinfo(torch.int64).max


def pack(coords: Int32[Tensor, "*n 4"]) -> Int64[Tensor, "*n"]:
    """(batch, x, y, z) -> one integer, which sorts as the four do."""
    batch, x, y, z = coords.long().unbind(dim=-1)
    return (batch << 3 * _AXIS_BITS) + pack_offset(x + _CENTRE, y + _CENTRE, z + _CENTRE)


def unpack(keys: Int64[Tensor, " n"]) -> Int32[Tensor, "n 4"]:
    """The inverse of ``pack``."""
    mask = (1 << _AXIS_BITS) - 1
    axes = [(keys >> bits * _AXIS_BITS & mask) - _CENTRE for bits in (2, 1, 0)]
    return torch.stack((keys >> 3 * _AXIS_BITS, *axes), dim=1).int()


def pack_offset(x: int | Tensor, y: int | Tensor, z: int | Tensor) -> int | Tensor:
    """What has to be added to a voxel's key to get the key of the voxel that lies (x, y, z) away from it."""
    return (x << 2 * _AXIS_BITS) + (y << _AXIS_BITS) + z


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
    def keys(self) -> Int64[Tensor, " n"]:
        """One integer per row.

        Raises:
            UserError: coordinates out of range, or no multiples of the stride.
        """
        self.check()
        return pack(self.coords)

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor]:
        """Sorted keys with a last one that no voxel has, and the row of each."""
        keys, rows = torch.sort(self.keys)
        if bool((keys[1:] == keys[:-1]).any()):
            raise UserError(
                "sparse tensor", "has two rows for one voxel", "Merge them first, e.g. with toolbox.sparse.voxelize"
            )
        return torch.cat((keys, keys.new_full((1,), _LAST_KEY))), torch.cat((rows, rows.new_full((1,), -1)))

    def find(self, keys: Int64[Tensor, "*q"]) -> Int64[Tensor, "*q"]:
        """The rows of the voxels with these keys; -1 where the set has no such voxel."""
        sorted_keys, rows = self._sorted
        place = torch.searchsorted(sorted_keys, keys)
        return torch.where(sorted_keys.take(place) == keys, rows.take(place), -1)

    def find_columns(self, keys: Int64[Tensor, "*q"], height: int) -> Int64[Tensor, "height *q"]:
        """The rows of columns of voxels along z, ``height`` each from the one with the key upwards; -1 where missing.

        Takes one search for each column: the voxels of a column follow one another in the order of keys.
        """
        sorted_keys, rows = self._sorted
        place = torch.searchsorted(sorted_keys, keys)
        found = keys.new_full((height, *keys.shape), -1)
        for step in range(height):
            there = sorted_keys.take(place) == keys + step * self.stride
            found[step] = torch.where(there, rows.take(place), -1)
            place += there
        return found

    def same_voxels(self, other: "VoxelSet") -> bool:
        """Whether both have the same voxels in the same rows."""
        return self is other or (self.stride == other.stride and torch.equal(self.coords, other.coords))

    def check(self) -> None:
        """Raise UserError where coordinates are out of range, or no multiples of the stride."""
        if not len(self):
            return
        low, high = self.coords.aminmax(dim=0)
        remainder = (self.coords[:, 1:] % self.stride).any()
        (low_batch, *low), (high_batch, *high), uneven = low.tolist(), high.tolist(), bool(remainder)
        if low_batch < 0 or high_batch >= _MAX_BATCH:
            raise UserError("sparse tensor", f"batch index {low_batch} to {high_batch}", f"Use 0 to {_MAX_BATCH - 1}")
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
            self.cache[key] = coarse.find(pack(floor_to_stride(self.levels[stride].coords, coarse.stride)))
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
