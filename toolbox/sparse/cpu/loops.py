"""Loops over the pairs of rows that meet under a convolution's weights, for Numba.

Pairs are numbered by block of targets, then by weight: those of block b and weight k are ``starts[b * volume + k]`` to
``starts[b * volume + k + 1]``. No target is in two blocks, so that threads share blocks.
"""

import functools
from collections.abc import Callable

import numpy as np
from numba import prange

from .tiles import Tile, multiply_columns, multiply_rows


def group_pairs(table, rows, block):
    """The pairs in a table of each target's source under each weight.

    Args:
        table: (targets, volume), int32; -1 where there is none.
        rows: the row of each target of the table, int32.
        block: how many targets that follow one another are in one.

    Returns:
        starts (int64), sources and targets (int32).
    """
    count, volume = table.shape
    blocks = (count + block - 1) // block
    starts = np.zeros(blocks * volume + 1, np.int64)
    for number in prange(blocks):
        for target in range(number * block, min((number + 1) * block, count)):
            for weight in range(volume):
                starts[number * volume + weight + 1] += table[target, weight] >= 0
    for place in range(blocks * volume):
        starts[place + 1] += starts[place]
    sources, targets = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for number in prange(blocks):
        free = starts[number * volume : (number + 1) * volume].copy()
        for target in range(number * block, min((number + 1) * block, count)):
            for weight in range(volume):
                if table[target, weight] >= 0:
                    sources[free[weight]], targets[free[weight]] = table[target, weight], rows[target]
                    free[weight] += 1
    return starts, sources, targets


@functools.cache
def products(tile: Tile) -> Callable:
    """``f(feats, weights, sources, targets, starts, out, volume)``: to each target's row of ``out``, add its pairs'.

    ``weights`` are panels (volume * panels, channels, tile.columns): those of a weight follow one another.
    """
    # Numba takes numbers as constants, of which it knows again what it has compiled.
    (bits, lanes, rows, vectors), columns = tile, tile.columns

    def function(feats, weights, sources, targets, starts, out, volume):
        panels = len(weights) // volume
        for block in prange((len(starts) - 1) // volume):
            for weight in range(volume):
                first, last = starts[block * volume + weight], starts[block * volume + weight + 1]
                for panel in range(panels):
                    number, column = weight * panels + panel, panel * columns
                    for pair in range(first, last, rows):
                        multiply_rows(
                            bits, lanes, rows, vectors,
                            feats, sources, weights, number, out, targets, column, pair, last,
                        )  # fmt: skip

    return function


@functools.cache
def outer_products(tile: Tile) -> Callable:
    """``f(feats, sources, grad, targets, starts, out, blocks, channels)``: add each pair's to its weight's in ``out``.

    ``out`` is (volume, channels, columns), multiples of a tile's. Threads share the weights and, where these are few,
    groups of so many ``channels`` (a multiple of ``tile.rows``), for so many ``blocks`` after one another.
    """
    (bits, lanes, rows, vectors), columns = tile, tile.columns

    def function(feats, sources, grad, targets, starts, out, blocks, channels):
        volume, before, after = out.shape
        for part in range(0, len(starts) - 1, blocks * volume):
            end = min(part + blocks * volume, len(starts) - 1)
            for task in prange((before + channels - 1) // channels * volume):
                begin, weight = task // volume * channels, task % volume
                for place in range(part + weight, end, volume):
                    first, last = starts[place], starts[place + 1]
                    if first < last:
                        for column in range(0, after, columns):
                            for channel in range(begin, min(begin + channels, before), rows):
                                multiply_columns(
                                    bits, lanes, rows, vectors,
                                    feats, sources, channel, grad, targets, column, out, weight, first, last,
                                )  # fmt: skip

    return function
