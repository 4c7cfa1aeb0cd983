"""All neighbours of all voxels of a set, for convolutions of the set onto itself."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Int32
from torch import Tensor

from .row_order import RowOrder

# The table's rows are a multiple of this, so that matrix products come in few shapes: each new one costs oneDNN a
# quarter of a millisecond.
_MULTIPLE = 64


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


def neighbourhoods(order: RowOrder, found: Int32[Tensor, "n k"]) -> Neighbourhoods:
    """The neighbourhoods of a set of voxels.

    Args:
        order: of the set's rows.
        found: the places of each voxel's neighbours, -1 where there is none; see ``VoxelSet.surroundings``. The offset
            to each has its opposite, which is as far from the end as it is from the beginning. It is written over.
    """
    num = len(found)
    table = F.pad(found.masked_fill_(found < 0, num), (0, 0, 0, _MULTIPLE - num % _MULTIPLE), value=num)
    return Neighbourhoods(table, order, num)
