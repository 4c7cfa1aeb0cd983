"""Convolutions weight by weight in plain PyTorch: gather the rows of pairs, multiply, add to the output's rows.

No row comes twice under one weight, so that no two threads add to one place and results do not depend on their order.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.sparse.kernel_map import KernelMap, Pairs


def convolve(
    feats: Float[Tensor, "n c_in"], weight: Float[Tensor, "k c_in c_out"], pairs: Pairs
) -> Float[Tensor, "m c_out"]:
    """The sum over each output voxel's pairs of features times weight."""
    precision = torch.promote_types(feats.dtype, torch.float32)
    out = feats.new_zeros(pairs.num_targets, weight.shape[2], dtype=precision)
    for k, sources, targets in pairs.parts():
        if k == pairs.identity:
            out += feats @ weight[k]
        else:
            out.index_add_(0, targets, (feats.index_select(0, sources) @ weight[k]).to(precision))
    return out.to(feats.dtype)


def gradients(
    feats: Float[Tensor, "n c_in"],
    weight: Float[Tensor, "k c_in c_out"],
    grad: Float[Tensor, "m c_out"],
    meeting: KernelMap,
    needed: tuple[bool, bool],
) -> tuple[Float[Tensor, "n c_in"] | None, Float[Tensor, "k c_in c_out"] | None]:
    """Gradients in features and weights, those that are needed; each row of ``grad`` is gathered once for both."""
    pairs, precision = meeting.pairs, torch.promote_types(feats.dtype, torch.float32)
    in_feats = torch.zeros_like(feats, dtype=precision) if needed[0] else None
    in_weight = torch.zeros_like(weight, dtype=precision) if needed[1] else None
    for k, sources, targets in pairs.parts():
        itself = k == pairs.identity
        part = grad if itself else grad.index_select(0, targets)
        if needed[0] and itself:
            in_feats += part @ weight[k].T
        elif needed[0]:
            in_feats.index_add_(0, sources, (part @ weight[k].T).to(precision))
        if needed[1]:
            in_weight[k] += (feats if itself else feats.index_select(0, sources)).T @ part
    return in_feats.to(feats.dtype) if needed[0] else None, in_weight.to(weight.dtype) if needed[1] else None
