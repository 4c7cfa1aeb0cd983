"""Which row a voxel has: from a table of all cells of the box around the voxels, or by search where that is large."""

from functools import cached_property

import torch
from jaxtyping import Bool, Int32, Int64
from torch import Tensor

from toolbox.errors import UserError

from .keys import pack, pack_offset

Offset = tuple[int, int, int]
# A table has up to so many cells, whatever the number of voxels, or so many for each voxel.
_SMALL_TABLE, _CELLS_PER_VOXEL = 1 << 22, 64
_LAST_KEY = torch.iinfo(torch.int64).max


class TableLookup:
    """Rows in a dense table of the box around voxels.

    Along x, y and z one cell stays empty before each row of cells. It stands for all places outside: the place behind a
    row's last cell is the empty one before the next row's first.

    Args:
        coords: (batch, x, y, z) of the voxels.
        stride: edge of the voxels.
        low, high: the smallest and the largest coordinates.
    """

    def __init__(self, coords: Int32[Tensor, "n 4"], stride: int, low: list[int], high: list[int]):
        self._coords, self._stride, self._low = coords, stride, low
        self._cells = _cells(stride, low, high)
        self._steps = _steps(self._cells)
        self._own = self._places(coords)
        rows = torch.arange(len(coords), dtype=torch.int32, device=coords.device)
        self._table = torch.full((_table_size(self._cells),), -1, dtype=torch.int32, device=coords.device)
        self._table[self._own.long()] = rows
        if not torch.equal(self._table.index_select(0, self._own), rows):
            raise _repeated()

    @classmethod
    def fits(cls, count: int, stride: int, low: list[int], high: list[int]) -> bool:
        """Whether the table of so many voxels is small enough."""
        return _table_size(_cells(stride, low, high)) <= max(_SMALL_TABLE, _CELLS_PER_VOXEL * count)

    def find(self, coords: Int32[Tensor, "*q 4"]) -> Int64[Tensor, "*q"]:
        """The rows of voxels, -1 where there is none."""
        return self._at(self._places(coords)).long()

    def neighbours(self, coords: Int32[Tensor, "n 4"], offsets: list[Offset]) -> Int32[Tensor, "k n"]:
        """The rows of the voxels that lie each of ``offsets`` away from voxels, -1 where there is none."""
        batch, known = self._in_batch(coords[:, 0])
        x, y, z = (
            {step: self._along(axis, coords[:, axis], step) for step in {offset[axis - 1] for offset in offsets}}
            for axis in (1, 2, 3)
        )
        x = {step: batch + place * known for step, place in x.items()}
        return self._at(torch.stack([x[i] + y[j] + z[k] for i, j, k in offsets]))

    def surroundings(self, offsets: list[Offset]) -> Int32[Tensor, "n k"]:
        """The neighbours of the voxels of the set itself, in their order."""
        if max(abs(step) for offset in offsets for step in offset) > self._stride:
            return self.neighbours(self._coords.index_select(0, self.order), offsets).T.contiguous()
        steps = [sum(o // self._stride * s for o, s in zip(offset, self._steps[1:], strict=True)) for offset in offsets]
        own = self._own.index_select(0, self.order)
        return self._at(own[:, None] + torch.tensor(steps, dtype=torch.int32, device=self._own.device))

    @cached_property
    def order(self) -> Int32[Tensor, " n"]:
        """The rows, sorted by (batch, x, y, z)."""
        return self._table[self._table >= 0]

    def _at(self, places: Int32[Tensor, "*q"]) -> Int32[Tensor, "*q"]:
        return self._table.index_select(0, places.flatten()).view(places.shape)

    def _places(self, coords: Int32[Tensor, "*q 4"]) -> Int32[Tensor, "*q"]:
        batch, known = self._in_batch(coords[..., 0])
        x, y, z = (self._along(axis, coords[..., axis], 0) for axis in (1, 2, 3))
        return batch + x * known + y + z

    def _in_batch(self, values: Int32[Tensor, "*q"]) -> tuple[Int32[Tensor, "*q"], Bool[Tensor, "*q"]]:
        """The place of each grid of the batch, and whether there is one (otherwise x has to be an empty cell's)."""
        grid = values - self._low[0]
        last = self._cells[0] - 1
        return grid.clamp(0, last) * self._steps[0], (grid >= 0) & (grid <= last)

    def _along(self, axis: int, values: Int32[Tensor, "*q"], offset: int) -> Int32[Tensor, "*q"]:
        """What coordinates along x, y or z add to the place in the table."""
        cell = values - (self._low[axis] - offset)
        if self._stride > 1:
            cell = cell.div(self._stride, rounding_mode="floor")
        return cell.add_(1).clamp_(0, self._cells[axis] + 1).mul_(self._steps[axis])


class SortedLookup:
    """Rows by binary search among the voxels' keys.

    Args:
        coords: (batch, x, y, z) of the voxels.
        stride: edge of the voxels.
    """

    def __init__(self, coords: Int32[Tensor, "n 4"], stride: int):
        keys, rows = torch.sort(pack(coords))
        if bool((keys[1:] == keys[:-1]).any()):
            raise _repeated()
        self._coords, self._stride = coords, stride
        # Behind the last key comes one that no voxel has.
        self._keys = torch.cat((keys, keys.new_full((1,), _LAST_KEY)))
        self._rows = torch.cat((rows.int(), rows.new_full((1,), -1, dtype=torch.int32)))

    def find(self, coords: Int32[Tensor, "*q 4"]) -> Int64[Tensor, "*q"]:
        """The rows of voxels, -1 where there is none."""
        return self._columns(pack(coords), 1)[0].long()

    def neighbours(self, coords: Int32[Tensor, "n 4"], offsets: list[Offset]) -> Int32[Tensor, "k n"]:
        """The rows of the voxels that lie each of ``offsets`` away from voxels, -1 where there is none.

        One search finds a column along z: its voxels follow one another in the order of keys.
        """
        keys, found = pack(coords), {}
        for column in self._in_columns(offsets):
            found |= zip(column, self._columns(keys + pack_offset(*column[0]), len(column)), strict=True)
        return torch.stack([found[offset] for offset in offsets])

    def surroundings(self, offsets: list[Offset]) -> Int32[Tensor, "n k"]:
        """The neighbours of the voxels of the set itself, in their order."""
        return self.neighbours(self._coords.index_select(0, self.order), offsets).T.contiguous()

    @cached_property
    def order(self) -> Int32[Tensor, " n"]:
        """The rows, sorted by (batch, x, y, z)."""
        return self._rows[:-1]

    def _in_columns(self, offsets: list[Offset]) -> list[list[Offset]]:
        columns: list[list[Offset]] = []
        for x, y, z in sorted(offsets):
            if columns and columns[-1][-1] == (x, y, z - self._stride):
                columns[-1].append((x, y, z))
            else:
                columns.append([(x, y, z)])
        return columns

    def _columns(self, keys: Int64[Tensor, "*q"], height: int) -> Int32[Tensor, "height *q"]:
        """The rows of columns of voxels, from the one with the key upwards."""
        place = torch.searchsorted(self._keys, keys)
        found = self._rows.new_full((height, *keys.shape), -1)
        for step in range(height):
            there = self._keys.take(place) == keys + step * self._stride
            found[step] = torch.where(there, self._rows.take(place), -1)
            place += there
        return found


def _cells(stride: int, low: list[int], high: list[int]) -> list[int]:
    """How many cells the box has along (batch, x, y, z)."""
    sizes = (1, stride, stride, stride)
    return [(last - first) // size + 1 for size, first, last in zip(sizes, low, high, strict=True)]


def _steps(cells: list[int]) -> list[int]:
    """The distances in the table of cells that follow one another along (batch, x, y, z)."""
    _, x, y, z = (count + 1 for count in cells)
    return [x * y * z, y * z, z, 1]


def _table_size(cells: list[int]) -> int:
    """Up to the place behind the last cell along x, y and z."""
    return cells[0] * _steps(cells)[0] + sum(_steps(cells)[1:])


def _repeated() -> UserError:
    return UserError(
        "sparse tensor", "has two rows for one voxel", "Merge them first, e.g. with toolbox.sparse.voxelize"
    )
