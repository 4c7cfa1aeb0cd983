"""Which row a voxel has: from a table of all cells of the box around the voxels, or by search where that is large."""

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from toolbox.errors import UserError

from .keys import pack, pack_offset

Offset = tuple[int, int, int]
# A table has up to so many cells, whatever the number of voxels, or so many for each voxel.
_SMALL_TABLE, _CELLS_PER_VOXEL = 1 << 22, 64
_LAST_KEY = torch.iinfo(torch.int64).max


class TableLookup:
    """Rows in a dense table of a box. An empty cell surrounds it, which stands for all places outside.

    Args:
        coords: (batch, x, y, z) of the voxels.
        sizes: of the steps from cell to cell along the four axes.
        low, high: the smallest and the largest coordinates.
    """

    def __init__(self, coords: Int32[Tensor, "n 4"], sizes: list[int], low: list[int], high: list[int]):
        self._low, self._sizes = low, sizes
        self._cells = _box(sizes, low, high)
        rows = torch.arange(len(coords), dtype=torch.int32, device=coords.device)
        own = self._places(coords)
        volume = self._cells[0] * self._cells[1] * self._cells[2] * self._cells[3]
        self._table = torch.full((volume,), -1, dtype=torch.int32, device=coords.device)
        self._table[own.long()] = rows
        if not torch.equal(self._table.index_select(0, own), rows):
            raise _repeated()

    @classmethod
    def fits(cls, count: int, sizes: list[int], low: list[int], high: list[int]) -> bool:
        """Whether the table of so many voxels is small enough."""
        b, x, y, z = _box(sizes, low, high)
        return b * x * y * z <= max(_SMALL_TABLE, _CELLS_PER_VOXEL * count)

    def find(self, coords: Int32[Tensor, "*q 4"]) -> Int64[Tensor, "*q"]:
        """The rows of voxels, -1 where there is none."""
        return self._table.index_select(0, self._places(coords).flatten()).view(coords.shape[:-1]).long()

    def neighbours(self, coords: Int32[Tensor, "n 4"], offsets: list[Offset]) -> Int32[Tensor, "k n"]:
        """The rows of the voxels that lie each of ``offsets`` away from voxels, -1 where there is none."""
        first = self._along(0, coords[:, 0], 0)
        columns = [
            {step: self._along(axis + 1, coords[:, axis + 1], step) for step in {offset[axis] for offset in offsets}}
            for axis in range(3)
        ]
        places = torch.stack([first + columns[0][x] + columns[1][y] + columns[2][z] for x, y, z in offsets])
        return self._table.index_select(0, places.flatten()).view(places.shape)

    def in_order(self) -> Int64[Tensor, " n"]:
        """The rows, sorted by (batch, x, y, z)."""
        return self._table[self._table >= 0].long()

    def _places(self, coords: Int32[Tensor, "*q 4"]) -> Int32[Tensor, "*q"]:
        b, x, y, z = (self._along(axis, values, 0) for axis, values in enumerate(coords.unbind(dim=-1)))
        return b + x + y + z

    def _along(self, axis: int, values: Int32[Tensor, "*q"], offset: int) -> Int32[Tensor, "*q"]:
        """What coordinates along one axis add to the place in the table."""
        cell = values - (self._low[axis] - offset)
        if self._sizes[axis] > 1:
            cell = cell.div(self._sizes[axis], rounding_mode="floor")
        step = 1
        for cells in self._cells[axis + 1 :]:
            step *= cells
        return cell.add_(1).clamp_(0, self._cells[axis] - 1).mul_(step)


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
        self._stride = stride
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

    def in_order(self) -> Int64[Tensor, " n"]:
        """The rows, sorted by (batch, x, y, z)."""
        return self._rows[:-1].long()

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


def _box(sizes: list[int], low: list[int], high: list[int]) -> list[int]:
    return [(last - first) // size + 3 for size, first, last in zip(sizes, low, high, strict=True)]


def _repeated() -> UserError:
    return UserError(
        "sparse tensor", "has two rows for one voxel", "Merge them first, e.g. with toolbox.sparse.voxelize"
    )
