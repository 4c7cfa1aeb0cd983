"""Convolutions on a CPU, block by block of output voxels; see ``toolbox.sparse.cpu``."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from toolbox.compiled.run import run
from toolbox.sparse.cpu.loops import outer_products, products
from toolbox.sparse.cpu.tiles import Tile
from toolbox.sparse.kernel_map import KernelMap, Pairs

# Parts of a gradient for each thread, so that none has long to wait for another's last.
_PARTS = 4
# Blocks whose features stay in the processor's cache while one weight after the other takes its pairs of them.
_BLOCKS = 8


def convolve(
    feats: Float[Tensor, "n c_in"], weight: Float[Tensor, "k c_in c_out"], pairs: Pairs
) -> Float[Tensor, "m c_out"]:
    """The sum over each output voxel's pairs of features times weight."""
    dtype, volume, after = _computed(feats.dtype), weight.shape[0], weight.shape[2]
    tile = Tile.fitting(torch.finfo(dtype).bits, after)
    weight = _padded(weight.to(dtype), tile.columns)
    out = torch.zeros(pairs.num_targets, weight.shape[2], dtype=dtype)
    weight = weight.unflatten(2, (-1, tile.columns)).transpose(1, 2).flatten(0, 1)
    arrays = _arrays(feats.to(dtype), weight, pairs.sources, pairs.targets, pairs.starts, out)
    run(products(tile), *arrays, volume)
    return out[:, :after].to(feats.dtype).contiguous()


def gradients(
    feats: Float[Tensor, "n c_in"],
    weight: Float[Tensor, "k c_in c_out"],
    grad: Float[Tensor, "m c_out"],
    meeting: KernelMap,
    needed: tuple[bool, bool],
) -> tuple[Float[Tensor, "n c_in"] | None, Float[Tensor, "k c_in c_out"] | None]:
    """Gradients in features and weights, those that are needed, from that of the output."""
    in_feats = in_weight = None
    if needed[0]:
        pairs, back = meeting.back(weight)
        in_feats = convolve(grad, back, pairs)
    if needed[1]:
        in_weight = _outer_products(feats, grad, meeting.pairs).to(weight.dtype)
    return in_feats, in_weight


def _outer_products(
    feats: Float[Tensor, "n c_in"], grad: Float[Tensor, "m c_out"], pairs: Pairs
) -> Float[Tensor, "k c_in c_out"]:
    """Of features and gradient, summed over the pairs of each weight."""
    dtype, before, after = _computed(feats.dtype), feats.shape[1], grad.shape[1]
    tile = Tile.fitting(torch.finfo(dtype).bits, after)
    feats, grad = _padded(feats.to(dtype), tile.rows), _padded(grad.to(dtype), tile.columns)
    out = torch.zeros(pairs.volume, feats.shape[1], grad.shape[1], dtype=dtype)
    # Threads share the weights and, where these are few, groups of channels.
    groups = -(-_PARTS * torch.get_num_threads() // pairs.volume)
    channels = -(-feats.shape[1] // (groups * tile.rows)) * tile.rows
    arrays = _arrays(feats, pairs.sources, grad, pairs.targets, pairs.starts, out)
    run(outer_products(tile), *arrays, _BLOCKS, channels)
    return out[:, :before, :after]


def _padded(rows: Float[Tensor, "*n c"], multiple: int) -> Float[Tensor, "*n p"]:
    """With columns of zeros up to a multiple."""
    missing = -rows.shape[-1] % multiple
    return F.pad(rows, (0, missing)) if missing else rows


def _computed(dtype: torch.dtype) -> torch.dtype:
    """Half precision is summed in single precision."""
    return torch.promote_types(dtype, torch.float32)


def _arrays(*tensors: Tensor) -> list:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
