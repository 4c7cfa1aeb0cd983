"""Convolutions pair by pair of rows: gather, multiply by weight, add to the output's rows.

Parts of the pairs follow one another, and no output row comes twice in one of them, so that no two threads add to one
place and results do not depend on their order.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolbox.sparse.backends.products import multiply, multiply_transposed, padded
from toolbox.sparse.kernel_map import KernelMap


def convolve(
    feats: Float[Tensor, "n c_in"], weight: Float[Tensor, "k c_in c_out"], pairs: KernelMap
) -> Float[Tensor, "m c_out"]:
    """The sum over each output row's pairs of features times weight."""
    feats, precision = pairs.source_order.sort(feats), torch.promote_types(feats.dtype, torch.float32)
    if pairs.identity is None:
        out = feats.new_zeros(pairs.num_targets, weight.shape[2], dtype=precision)
    else:
        out = multiply(feats, weight[pairs.identity]).to(precision)
    sources_of = _Gather(feats, pairs)
    for k, sources, targets in pairs.parts:
        product = multiply(sources_of(sources), weight[k])[: len(sources)]
        out.index_add_(0, targets, product.to(precision))
    return pairs.target_order.restore(out.to(feats.dtype))


def gradients(
    feats: Float[Tensor, "n c_in"],
    weight: Float[Tensor, "k c_in c_out"],
    grad: Float[Tensor, "m c_out"],
    pairs: KernelMap,
    needed: tuple[bool, bool],
) -> tuple[Float[Tensor, "n c_in"] | None, Float[Tensor, "k c_in c_out"] | None]:
    """Gradients in features and weights, those that are needed; each row of ``grad`` is gathered once for both."""
    feats, grad = pairs.source_order.sort(feats), pairs.target_order.sort(grad)
    precision = torch.promote_types(feats.dtype, torch.float32)
    in_feats = torch.zeros_like(feats, dtype=precision) if needed[0] else None
    in_weight = torch.zeros_like(weight, dtype=precision) if needed[1] else None
    if pairs.identity is not None and needed[0]:
        in_feats = multiply(grad, weight[pairs.identity].T).to(precision)
    if pairs.identity is not None and needed[1]:
        in_weight[pairs.identity] = multiply_transposed(feats, grad)
    sources_of, targets_of = _Gather(feats, pairs), _Gather(grad, pairs)
    for k, sources, targets in pairs.parts:
        part = targets_of(targets)
        if needed[0]:
            in_feats.index_add_(0, sources, multiply(part, weight[k].T)[: len(sources)].to(precision))
        if needed[1]:
            in_weight[k] += multiply_transposed(sources_of(sources), part)
    return (
        pairs.source_order.restore(in_feats.to(feats.dtype)) if needed[0] else None,
        in_weight.to(weight.dtype) if needed[1] else None,
    )


class _Gather:
    """Rows of a matrix, and behind them zeros, in memory that the next ones take over."""

    def __init__(self, feats: Float[Tensor, "n c"], pairs: KernelMap):
        self._feats = feats
        longest = max((len(rows) for _, rows, _ in pairs.parts), default=0)
        self._memory = feats.new_empty(padded(longest, feats.device), feats.shape[1])

    def __call__(self, rows: Int64[Tensor, " r"]) -> Float[Tensor, "padded c"]:
        gathered = self._memory[: padded(len(rows), rows.device)]
        torch.index_select(self._feats, 0, rows, out=gathered[: len(rows)])
        gathered[len(rows) :] = 0
        return gathered
