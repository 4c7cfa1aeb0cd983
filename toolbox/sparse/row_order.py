"""Rows of features in the order in which their voxels lie."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class RowOrder:
    """Rows sorted by (batch, x, y, z) of their voxels: neighbours are close to one another in memory.

    Attributes:
        order: the row at each place of the sorted ones; None if rows are sorted already.
    """

    order: Int64[Tensor, " n"] | None

    @cached_property
    def _places(self) -> Int64[Tensor, " n"]:
        places = torch.arange(len(self.order), device=self.order.device)
        return torch.empty_like(self.order).index_copy_(0, self.order, places)

    def sort(self, feats: Float[Tensor, "n c"], behind: int = 0) -> Float[Tensor, "_ c"]:
        """From rows to places, with so many rows of zeros behind the last."""
        if behind == 0:
            return feats if self.order is None else feats.index_select(0, self.order)
        result = feats.new_empty(len(feats) + behind, feats.shape[1])
        result[len(feats) :] = 0
        if self.order is None:
            result[: len(feats)] = feats
        else:
            torch.index_select(feats, 0, self.order, out=result[: len(feats)])
        return result

    def part(self, feats: Float[Tensor, "n c"], places: slice) -> Float[Tensor, "_ c"]:
        """What ``sort`` has at some places."""
        return feats[places] if self.order is None else feats.index_select(0, self.order[places])

    def restore(self, feats: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """From places to rows."""
        return feats if self.order is None else feats.index_select(0, self._places)
