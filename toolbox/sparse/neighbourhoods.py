"""All neighbours of all voxels of a set, for convolutions of the set onto itself."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Int32, Int64
from torch import Tensor

from .lookup import Offset
from .voxels import VoxelSet

# The table's rows are a multiple of this, so that matrix products come in few shapes: each new one costs oneDNN a
# quarter of a millisecond.
_MULTIPLE = 64


@dataclass(frozen=True)
class Neighbourhoods:
    """Which voxels surround each voxel, in the order (batch, x, y, z): neighbours are close to one another in memory.

    Attributes:
        table: for the voxel at each place in that order, the places of its neighbours under the weights 0, 1, ...;
            ``num_voxels`` where there is none. Behind the last voxel follow rows without neighbours.
        order, places: the row of the voxel at each place, and the place of each row; None where rows are in order.
        num_voxels: how many there are.
    """

    table: Int32[Tensor, "m k"]
    order: Int64[Tensor, " n"] | None
    places: Int64[Tensor, " n"] | None
    num_voxels: int


def neighbourhoods(voxels: VoxelSet, offsets: list[Offset], min_filled: float) -> Neighbourhoods | None:
    """The neighbourhoods of a set of voxels; None where fewer of all neighbours than ``min_filled`` are there.

    Args:
        min_filled: as a part of all neighbours that there could be.
        offsets: (x, y, z) from a voxel to its neighbours, multiples of the stride; each with its opposite, which is as
            far from the end as it is from the beginning.

    Raises:
        UserError: coordinates of the set are out of range, not different, or no multiples of the stride.
    """
    order, places, num = voxels.order, None, len(voxels)
    if order is not None:
        places = torch.empty_like(order).index_copy_(0, order, torch.arange(num, device=order.device))
        voxels = VoxelSet(voxels.coords.index_select(0, order), voxels.stride)
    found = voxels.surroundings(offsets)
    absent = found < 0
    if int(torch.count_nonzero(absent)) > (1 - min_filled) * found.numel():
        return None
    table = F.pad(found.masked_fill_(absent, num), (0, 0, 0, _MULTIPLE - num % _MULTIPLE), value=num)
    return Neighbourhoods(table, order, places, num)
