"""Convolutions of kernel 3 by half the multiplications: for inference in float32 on a CPU.

Winograd's minimal filtering F(4, 3), along the rows alone (Lavin & Gray, CVPR 2016, section 4): four rows of the result
take six products with combinations of the input's rows, where they take twelve with the rows themselves. The six are
one grouped convolution along the other axes, and combinations are weighted sums of pixels.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor, nn

from toolbox.sparse.row_sums import sum_rows

_TILE, _PRODUCTS = 4, 6
# The six rows that a tile of the result sees, from the one above it -> combinations.
_OF_INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
# The kernel's rows -> combinations.
_OF_KERNEL = torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
# Products -> rows of a tile.
_OF_PRODUCTS = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
# This product is part of all rows alike.
_BIASED = 1

# Elements of the combinations made at a time: they are read again at once, from the cache.
_BLOCK = 2**20
# With fewer channels, or fewer multiplications for every element read and written, the sums take more than they save.
_LEAST_CHANNELS, _LEAST_INTENSITY = 32, 200


def suits(conv: nn.Module, x: Float[Tensor, "n c ..."]) -> bool:
    """Whether ``convolve`` computes what the layer does, and sooner."""
    dims = x.ndim - 2
    kind = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    if kind != ((3,) * dims, (1,) * dims, (1,) * dims, (1,) * dims) or conv.groups != 1 or not x.numel():
        return False
    before, after = conv.in_channels, conv.out_channels
    multiplications = 3**dims * before * after
    return min(before, after) >= _LEAST_CHANNELS and multiplications >= _LEAST_INTENSITY * (before + after)


def convolve(
    x: Float[Tensor, "n c *d h w"],
    weight: Float[Tensor, "k c ..."],
    bias: Float[Tensor, " k"] | None,
    negative_slope: float | None = None,
) -> Float[Tensor, "n k *d h w"]:
    """Convolution with kernel 3, stride 1 and padding 1, then a LeakyReLU; float32, channels last, no gradients.

    It differs from the plain convolution by rounding, which is up to twelve times that one's own.

    Args:
        x: an image or a volume; best channels last.
        weight: of kernel 3 along every axis.
        negative_slope: of the LeakyReLU; None is no activation.
    """
    number, channels, *depth, height, width = x.shape
    lead, after = number * (depth[0] if depth else 1), len(weight)
    table = x.movedim(1, -1).reshape(-1, channels)
    result = x.new_empty((number, *depth, height, width, after))
    kernel, offset = _grouped(weight, bias)
    around = (*(1 for _ in depth), 0, 1)
    step = max(_BLOCK * _TILE // (_PRODUCTS * lead * width * channels) // _TILE, 1) * _TILE
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        tiles = -(-(rows.stop - rows.start) // _TILE)
        start, stop = max(first - 1, 0), min(first + tiles * _TILE + 1, height)
        sums = _sums_of_input(lead, height, width, tiles, start - first, stop - first)
        combined = sum_rows(table[start * width :], *sums).view(number, *depth, tiles, width, -1).movedim(-1, 1)
        products = _convolution(combined, kernel, offset, around).movedim(1, -1).reshape(-1, after)
        block = sum_rows(products, *_sums_of_products(lead * tiles, width))
        block = block.view(number, *depth, tiles * _TILE, width, after)[..., : rows.stop - rows.start, :, :]
        if negative_slope is None:
            result[..., rows, :, :] = block
        else:
            torch.ops.aten.leaky_relu.out(block, negative_slope, out=result[..., rows, :, :])
    return result.movedim(-1, 1)


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    ones = (1,) * len(padding)
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, ones, ones, _PRODUCTS, "none", [], None)


def _grouped(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Kernel and bias of the six products."""
    combined = torch.tensordot(_OF_KERNEL, weight, dims=([1], [weight.ndim - 2]))
    kernel = combined.flatten(0, 1).unsqueeze(-2)
    if bias is None:
        return kernel, None
    return kernel, F.pad(bias, (_BIASED * len(bias), (_PRODUCTS - 1 - _BIASED) * len(bias)))


class _Sums(NamedTuple):
    """What ``sum_rows`` needs: sum k takes the terms ``bounds[k]:bounds[k + 1]``."""

    rows: Int32[Tensor, " m"]
    bounds: Int32[Tensor, " k1"]
    weights: Float[Tensor, " m"]


def _sums(rows: Tensor, weights: Tensor, sizes: Tensor) -> _Sums:
    """Of groups (g, m) of m terms each, which are sums of so many terms as ``sizes`` says, one after the other."""
    groups, terms = rows.shape
    starts = torch.arange(groups, dtype=torch.int32)[:, None] * terms + (sizes.cumsum(0) - sizes).int()
    bounds = F.pad(starts.flatten(), (0, 1), value=groups * terms)
    return _Sums(rows.flatten(), bounds, weights.expand(groups, terms).flatten())


def _integers(size: int) -> Tensor:
    return torch.arange(size, dtype=torch.int32)


# Blocks of a layer, and of layers that follow each other, mostly need the same.
@lru_cache(maxsize=8)
def _sums_of_input(lead: int, height: int, width: int, tiles: int, start: int, stop: int) -> _Sums:
    """Pixels of ``lead`` images -> combinations, of each tile and column one after the other.

    Args:
        height, width: of an image.
        tiles: in the block.
        start, stop: the rows that there are, counted from the block's first; the table begins with ``start``.
    """
    product, seen = _OF_INPUT.nonzero(as_tuple=True)
    row = _TILE * _integers(tiles)[:, None] + (seen.int() - 1)
    weights = torch.where((row >= start) & (row < stop), _OF_INPUT[product, seen], 0)
    pixels = (row.clamp(start, stop - 1) - start)[:, None] * width + _integers(width)[:, None]
    pixels = _integers(lead)[:, None, None, None] * (height * width) + pixels
    weights = weights[:, None].expand(pixels.shape)
    return _sums(pixels.flatten(0, 2), weights.flatten(0, 2), torch.bincount(product))


@lru_cache(maxsize=8)
def _sums_of_products(tiles: int, width: int) -> _Sums:
    """Products, of each tile and column one after the other -> pixels of so many tiles."""
    rows = [weights.nonzero()[:, 0].int() for weights in _OF_PRODUCTS]
    terms = torch.cat([(_PRODUCTS * _integers(width)[:, None] + products).flatten() for products in rows])
    weights = torch.cat([kept[kept != 0].repeat(width) for kept in _OF_PRODUCTS])
    sizes = torch.tensor([len(products) for products in rows]).repeat_interleave(width)
    return _sums(_integers(tiles)[:, None] * (_PRODUCTS * width) + terms, weights, sizes)
