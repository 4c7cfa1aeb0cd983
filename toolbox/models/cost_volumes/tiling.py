"""Overlapping tiles of a level, which fit a memory."""

from collections.abc import Iterator
from typing import NamedTuple

# Rows and columns.
Area = tuple[slice, slice]


class Tile(NamedTuple):
    """A part of a level, and what around it is computed with it.

    Attributes:
        core: the pixels that are taken from this tile; the cores of all tiles are the level.
        area: the core and what its result depends on.
    """

    core: Area
    area: Area

    @property
    def core_in_area(self) -> Area:
        """Where the core lies, counted from the area's corner."""
        rows, columns = (
            slice(core.start - area.start, core.stop - area.start)
            for core, area in zip(self.core, self.area, strict=True)
        )
        return rows, columns


def whole(size: tuple[int, int]) -> Area:
    """All of a level of ``size`` (height, width)."""
    return slice(0, size[0]), slice(0, size[1])


def tiles(size: tuple[int, int], tile_size: int, reach: int, divisor: int) -> Iterator[Tile]:
    """Tiles of a level whose areas are at most ``tile_size`` a side where that leaves room for a core.

    Args:
        size: (height, width); multiples of ``divisor``, as every tile's area is.
        reach: how far from a pixel its result depends on the input.
    """
    for rows in _spans(size[0], tile_size, reach, divisor):
        for columns in _spans(size[1], tile_size, reach, divisor):
            yield Tile((rows[0], columns[0]), (rows[1], columns[1]))


def _spans(length: int, tile_size: int, reach: int, divisor: int) -> Iterator[tuple[slice, slice]]:
    halo = -(-reach // divisor) * divisor
    if length <= tile_size:
        yield slice(0, length), slice(0, length)
        return
    room = max(tile_size - 2 * halo, halo, divisor)
    number = -(-length // room)
    step = -(-length // (number * divisor)) * divisor
    for first in range(0, length, step):
        last = min(first + step, length)
        yield slice(first, last), slice(max(0, first - halo), min(length, last + halo))
