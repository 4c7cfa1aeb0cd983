"""Layers applied to some rows of an image or a volume after the other: what lies between them stays small."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

# Elements of one source's features in a strip of the cost volume: on a CPU a few of its kind fit the last-level cache;
# elsewhere what counts is that strips are few.
_SAMPLED = {"cpu": 2**20}
# Elements between two layers. On a CPU less than 32 MiB: what is larger, the C library takes from the system and gives
# back every time, and to clear the pages takes a tenth of the time of a convolution.
_FILTERED = {"cpu": 7 * 2**20}
_ELSEWHERE = 2**26

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def _strips(rows: slice, elements_per_row: int, most: int) -> Iterator[slice]:
    number = -(-(rows.stop - rows.start) // max(most // elements_per_row, 1))
    step = -(-(rows.stop - rows.start) // number)
    for first in range(rows.start, rows.stop, step):
        yield slice(first, min(first + step, rows.stop))


def sampled_strips(rows: slice, elements_per_row: int, device: torch.device) -> Iterator[slice]:
    """``rows`` in a few, as is best for sampling features that are needed once."""
    return _strips(rows, elements_per_row, _SAMPLED.get(device.type, _ELSEWHERE))


def filtered_strips(height: int, elements_per_row: int, device: torch.device) -> Iterator[slice]:
    """All rows in a few, as is best for convolutions."""
    return _strips(slice(0, height), elements_per_row, _FILTERED.get(device.type, _ELSEWHERE))


def widened(rows: slice, halo: int, height: int) -> slice:
    """The rows and so many above and below as there are."""
    return slice(max(0, rows.start - halo), min(height, rows.stop + halo))


def inner_rows(x: Tensor, rows: slice, area: slice) -> Tensor:
    """The ``rows`` of what was computed of the rows ``area``, a view; rows are the last axis but one."""
    return x.narrow(-2, rows.start - area.start, rows.stop - rows.start)


def empty_like_rows(x: Tensor, height: int) -> Tensor:
    """Memory for as many rows of the kind of ``x``, channels last."""
    shape = (*x.shape[:-2], height, x.shape[-1])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_CHANNELS_LAST[x.ndim])


def filtered_in_strips(
    layers: Iterable[nn.Module], part: Callable[[slice], Tensor], strips: Iterable[slice], height: int
) -> Tensor:
    """What ``layers`` make of an input whose rows ``part`` gives: (B, C, [D,] rows, W).

    Args:
        layers: each looks at one row above and one below, and keeps the number of rows.
        part: is called with overlapping rows.
        strips: what is computed at a time; together all rows.
        height: number of rows.
    """
    layers, result = list(layers), None
    for rows in strips:
        area = widened(rows, len(layers), height)
        x = part(area)
        for layer in layers:
            x = layer(x)
        if area == slice(0, height):
            return x
        if result is None:
            result = empty_like_rows(x, height)
        result[..., rows, :] = inner_rows(x, rows, area)
    return result
