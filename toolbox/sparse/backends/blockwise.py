"""Convolutions of a set of voxels onto itself, block by block of output voxels.

The neighbours of each voxel of a block are gathered side by side, zeros where there is none, so that one matrix product
convolves the block. Backwards, what a voxel gave to its neighbours comes from the opposite side: the gradients around
it are gathered, and serve both the features' gradient and the weights'.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from toolbox.sparse.backends.products import multiply
from toolbox.sparse.neighbourhoods import Neighbourhoods

# What is gathered for a block stays in the processor's cache. Blocks have a power of 2 of voxels, so that matrices come
# in few shapes.
_BLOCK_BYTES = 8 << 20
_MAX_ROWS = 4096


def convolve(
    feats: Float[Tensor, "n c_in"], weight: Float[Tensor, "k c_in c_out"], around: Neighbourhoods
) -> Float[Tensor, "n c_out"]:
    """The sum over each voxel's neighbours of features times weight."""
    out = feats.new_empty(len(feats), weight.shape[2])
    matrix = weight.flatten(0, 1)
    for start, gathered in _blocks(feats, around):
        out[start : start + len(gathered)] = multiply(gathered, matrix)[: len(feats) - start]
    return around.order.restore(out)


def gradients(
    feats: Float[Tensor, "n c_in"],
    weight: Float[Tensor, "k c_in c_out"],
    grad: Float[Tensor, "n c_out"],
    around: Neighbourhoods,
    needed: tuple[bool, bool],
) -> tuple[Float[Tensor, "n c_in"] | None, Float[Tensor, "k c_in c_out"] | None]:
    """Gradients in features and weights, those that are needed, from that of the output."""
    volume, before, after = weight.shape
    matrix = weight.flip(0).transpose(1, 2).reshape(volume * after, before)
    in_feats = torch.empty_like(feats) if needed[0] else None
    in_weight = feats.new_zeros(before, volume * after, dtype=torch.promote_types(feats.dtype, torch.float32))
    for start, gathered in _blocks(grad, around):
        if needed[0]:
            in_feats[start : start + len(gathered)] = multiply(gathered, matrix)[: len(feats) - start]
        if needed[1]:
            own = around.order.part(feats, slice(start, start + len(gathered)))
            if len(own) < len(gathered):
                own = F.pad(own, (0, 0, 0, len(gathered) - len(own)))
            in_weight += multiply(own.T, gathered)
    return (
        around.order.restore(in_feats) if needed[0] else None,
        in_weight.view(before, volume, after).transpose(0, 1).flip(0).to(weight.dtype) if needed[1] else None,
    )


def _blocks(feats: Float[Tensor, "n c"], around: Neighbourhoods) -> Iterator[tuple[int, Float[Tensor, "r kc"]]]:
    """The place where each block begins, and the features around its voxels."""
    (rows, volume), channels = around.table.shape, feats.shape[1]
    padded = around.order.sort(feats, behind=1)
    fitting = max(_BLOCK_BYTES // max(volume * channels * feats.element_size(), 1), 1)
    size = min(1 << fitting.bit_length() - 1, _MAX_ROWS)
    buffer = feats.new_empty(min(size, rows) * volume, channels)
    for start in range(0, around.num_voxels, size):
        places = around.table[start : start + size].flatten()
        gathered = torch.index_select(padded, 0, places, out=buffer[: len(places)])
        yield start, gathered.view(-1, volume * channels)
