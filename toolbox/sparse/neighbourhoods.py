"""All neighbours of all voxels of a set, for convolutions of the set onto itself."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int32
from torch import Tensor

from .lookup import Offset
from .row_order import RowOrder
from .voxels import VoxelSet

# The table's rows are a multiple of this, so that matrix products come in few shapes: each new one costs oneDNN a
# quarter of a millisecond.
_MULTIPLE = 64
# Voxels at which neighbours are counted.
_SAMPLED = 4096


@dataclass(frozen=True)
class Neighbourhoods:
    """Which voxels surround each voxel; places are rows in the order (batch, x, y, z).

    Attributes:
        table: for the voxel at each place, the places of its neighbours under the weights 0, 1, ...; ``num_voxels``
            where there is none. Behind the last voxel follow rows without neighbours.
        order: of the set's rows.
        num_voxels: how many there are.
    """

    table: Int32[Tensor, "m k"]
    order: RowOrder
    num_voxels: int


def neighbourhoods(voxels: VoxelSet, offsets: list[Offset]) -> Neighbourhoods:
    """The neighbourhoods of a set of voxels.

    Args:
        offsets: (x, y, z) from a voxel to its neighbours, multiples of the stride; each with its opposite, which is as
            far from the end as it is from the beginning.

    Raises:
        UserError: coordinates of the set are out of range, not different, or no multiples of the stride.
    """
    num = len(voxels)
    found = voxels.in_order.surroundings(offsets)
    table = F.pad(found.masked_fill_(found < 0, num), (0, 0, 0, _MULTIPLE - num % _MULTIPLE), value=num)
    return Neighbourhoods(table, voxels.row_order, num)


def part_filled(voxels: VoxelSet, offsets: list[Offset]) -> float:
    """The part of all neighbours which there is, counted at a few voxels all over a set; 0 of an empty set.

    Raises:
        UserError: see ``neighbourhoods``.
    """
    if not len(voxels):
        return 0.0
    ordered = voxels.in_order
    found = ordered.neighbours(ordered.coords[:: -(-len(voxels) // _SAMPLED)], offsets)
    return int(torch.count_nonzero(found >= 0)) / found.numel()
