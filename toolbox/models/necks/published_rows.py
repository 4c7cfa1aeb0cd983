"""The order of voxels in torchsparse 1.4, and what the published recurrent unit mistakes it for."""

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from toolbox.sparse import SparseTensor

_OFFSET = 14695981039346656037 - 2**64  # FNV-1a's, as a signed integer
_PRIME = 1099511628211
_WORD = 0xFFFFFFFF
_LOW_BITS = 0x0FFFFFFFFFFFFFFF


def voxel_hashes(coords: Int32[Tensor, "n 4"]) -> Int64[Tensor, " n"]:
    """64-bit FNV-1a of the words x, y, z, batch of voxels (batch, x, y, z), its upper four bits folded into the lower.

    torchsparse 1.4 keeps the voxels of points in the order of these numbers.
    """
    words = coords.long() & _WORD
    hashes = torch.full_like(words[:, 0], _OFFSET)
    for column in (1, 2, 3, 0):
        hashes = (hashes ^ words[:, column]) * _PRIME
    return (hashes >> 60 & 0xF) ^ (hashes & _LOW_BITS)


def mistaken_rows(values: SparseTensor, voxels: SparseTensor) -> SparseTensor:
    """``values`` at other voxels, handed over by their place in the order of hashes: what is at the first voxel of one
    set goes to the first of the other, and so on. Where ``values`` has too few, its last one is repeated (the published
    program reads beyond its end there).
    """
    taken = voxel_hashes(values.coords).argsort()
    place = voxel_hashes(voxels.coords).argsort().argsort()
    return voxels.replace(values.feats[taken[place.clamp(max=max(len(values) - 1, 0))]])
