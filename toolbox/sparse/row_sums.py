"""Weighted sums of rows, forwards and backwards without atomic additions."""

from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable


def sum_rows(
    values: Float[Tensor, "n c"],
    rows: Int[Tensor, " m"],
    bounds: Int[Tensor, " k1"],
    weights: Float[Tensor, " m"] | None = None,
) -> Float[Tensor, "k c"]:
    """Output row k is the (weighted) sum of ``values[rows[bounds[k]:bounds[k + 1]]]``; the last bound is len(rows)."""
    if len(rows) == 0 or values.shape[1] == 0:
        return values.new_zeros(len(bounds) - 1, values.shape[1])
    weights = None if weights is None else weights.to(values.dtype)
    return F.embedding_bag(rows, values, bounds, mode="sum", per_sample_weights=weights, include_last_offset=True)


def group_rows(rows: Int64[Tensor, " m"], count: int) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " k1"]]:
    """The positions of row 0, of row 1, ..., and where each row's begin (and the last one's end)."""
    rows, order = torch.sort(rows, stable=True)
    bounds = rows.new_zeros(count + 1)
    torch.cumsum(torch.bincount(rows, minlength=count), 0, out=bounds[1:])
    return order, bounds


class RowSums:
    """A linear map of rows, given by triples: ``out[target] += weight * in[source]``.

    Args:
        sources, targets: rows of input and output.
        weights: of each triple.
        num_sources, num_targets: how many rows there are.
    """

    def __init__(
        self,
        sources: Int64[Tensor, " m"],
        targets: Int64[Tensor, " m"],
        weights: Float[Tensor, " m"],
        num_sources: int,
        num_targets: int,
    ):
        self._sources, self._targets, self._weights = sources, targets, weights
        self._num_sources, self._num_targets = num_sources, num_targets

    @cached_property
    def forwards(self) -> tuple[Tensor, Tensor, Tensor]:
        """What ``sum_rows`` needs: rows, bounds and weights."""
        order, bounds = group_rows(self._targets, self._num_targets)
        return self._sources[order], bounds, self._weights[order]

    @cached_property
    def backwards(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the transposed map."""
        order, bounds = group_rows(self._sources, self._num_sources)
        return self._targets[order], bounds, self._weights[order]

    def __call__(self, values: Float[Tensor, "n c"]) -> Float[Tensor, "k c"]:
        """Apply the map; gradients flow to ``values`` (once)."""
        return _ApplyRowSums.apply(values, self)


class _ApplyRowSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, sums: RowSums) -> Tensor:
        ctx.sums = sums
        return sum_rows(values, *sums.forwards)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return sum_rows(grad.contiguous(), *ctx.sums.backwards), None
