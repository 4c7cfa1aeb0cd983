"""Voxels as integers that sort as their coordinates do."""

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

_AXIS_BITS = 17
_CENTRE = 1 << (_AXIS_BITS - 1)
MAX_BATCH = 1 << 12
# Neighbours of a voxel have keys, too: coordinates stay this far away from the ends of their bits.
MAX_REACH = 1 << 12
MAX_COORDINATE = _CENTRE - MAX_REACH - 1


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
