"""Which views of a video are compared with which."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from toolbox.errors import UserError


@dataclass(frozen=True)
class ViewPairs:
    """Pairs of views by the distance of their numbers, and around the seam between two fragments.

    Without a memory of earlier fragments, all pairs of a fragment's views not farther apart than ``max_distance``. With
    one, the views before come first, and pairs are taken among the last ``seam_views`` of the previous fragment and the
    first ``seam_views`` of the current one.

    Attributes:
        max_distance: |i - j| within one fragment; None is any.
        seam_views: of each of two neighbouring fragments; None is all of both.
        seam_distance: |i - j| around the seam; None is any.

    Raises:
        UserError: one of them is below 1.
    """

    max_distance: int | None = 3
    seam_views: int | None = 2
    seam_distance: int | None = 3

    def __post_init__(self):
        for name in ("max_distance", "seam_views", "seam_distance"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(
                    f"pairs=dict({name}={value})", "leaves no pair of views", "Take 1 or more, or None for no limit"
                )

    def select(self, views: int, previous: int = 0) -> Int64[Tensor, "p 2"]:
        """Ordered pairs (i, j), both directions of each, sorted; numbers count the previous fragment's views first.

        Args:
            views: of the current fragment.
            previous: number of the previous fragment's views; 0 without a memory.
        """
        first, last, distance = 0, previous + views, self.max_distance
        if previous:
            around = max(previous, views) if self.seam_views is None else self.seam_views
            first, last = max(0, previous - around), min(last, previous + around)
            distance = self.seam_distance
        limit = last if distance is None else distance
        chosen = [(i, j) for i in range(first, last) for j in range(first, last) if 0 < abs(i - j) <= limit]
        return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2)
