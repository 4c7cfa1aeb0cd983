"""Convolutions pair by pair of rows: gather, multiply by weight, add to the output's rows.

Parts of the pairs follow one another, and no output row comes twice in one of them, so that no two threads add to one
place and results do not depend on their order.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.sparse.kernel_map import KernelMap


def convolve(
    feats: Float[Tensor, "n c_in"], weight: Float[Tensor, "k c_in c_out"], pairs: KernelMap
) -> Float[Tensor, "m c_out"]:
    """The sum over each output row's pairs of features times weight."""
    precision = torch.promote_types(feats.dtype, torch.float32)
    if pairs.identity is None:
        out = feats.new_zeros(pairs.num_targets, weight.shape[2], dtype=precision)
    else:
        out = (feats @ weight[pairs.identity]).to(precision)
    for k, sources, targets in pairs.parts:
        product = feats.index_select(0, sources) @ weight[k]
        out.index_add_(0, targets, product.to(precision))
    return out.to(feats.dtype)


def gradients(
    feats: Float[Tensor, "n c_in"],
    weight: Float[Tensor, "k c_in c_out"],
    grad: Float[Tensor, "m c_out"],
    pairs: KernelMap,
    needed: tuple[bool, bool],
) -> tuple[Float[Tensor, "n c_in"] | None, Float[Tensor, "k c_in c_out"] | None]:
    """Gradients in features and weights, those that are needed; each row of ``grad`` is gathered once for both."""
    precision = torch.promote_types(feats.dtype, torch.float32)
    in_feats = torch.zeros_like(feats, dtype=precision) if needed[0] else None
    in_weight = torch.zeros_like(weight, dtype=precision) if needed[1] else None
    if pairs.identity is not None and needed[0]:
        in_feats = (grad @ weight[pairs.identity].T).to(precision)
    if pairs.identity is not None and needed[1]:
        in_weight[pairs.identity] = feats.T @ grad
    for k, sources, targets in pairs.parts:
        part = grad.index_select(0, targets)
        if needed[0]:
            in_feats.index_add_(0, sources, (part @ weight[k].T).to(precision))
        if needed[1]:
            in_weight[k] += feats.index_select(0, sources).T @ part
    return (in_feats.to(feats.dtype) if needed[0] else None), (in_weight.to(weight.dtype) if needed[1] else None)
