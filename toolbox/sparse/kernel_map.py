"""Which input voxel meets which output voxel under which weight of a convolution's kernel."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from toolbox.errors import UserError

from .row_sums import group_rows
from .voxels import MAX_REACH, VoxelFamily, VoxelSet, pack_offset

# Weights whose pairs fit together into so many rows (padded to equal counts) are multiplied in one batch.
_ROWS_PER_BATCH = 8192


@dataclass(frozen=True)
class ConvSpec:
    """The geometry of a sparse convolution.

    Attributes:
        kernel_size: edge of the kernel in voxels of the input's stride (of the finer one if transposed).
        stride: ratio of the output's stride to the input's (the inverse if transposed).
        dilation: distance of the kernel's cells, in voxels.
        transposed: from coarse to fine, back along the map of the same convolution that is not transposed.
    """

    kernel_size: int
    stride: int = 1
    dilation: int = 1
    transposed: bool = False

    @property
    def volume(self) -> int:
        """Number of weights (of in x out channels each)."""
        return self.kernel_size**3

    def offsets(self) -> list[tuple[int, int, int]]:
        """(x, y, z) of the kernel's cells in voxels, in the order of the weights.

        A kernel of odd size is centred and x runs fastest; one of even size begins at its voxel (sizes above 2: one
        cell earlier for every 2 more) and z runs fastest. This is the order of MinkowskiEngine and torchsparse.
        """
        first = -((self.kernel_size - 1) // 2)
        cells = [self.dilation * (first + i) for i in range(self.kernel_size)]
        if self.kernel_size % 2:
            return [(x, y, z) for z in cells for y in cells for x in cells]
        return [(x, y, z) for x in cells for y in cells for z in cells]


@dataclass
class Batch:
    """Consecutive weights ``first`` to ``last`` (excluded) with ``width`` slots each, which start at ``start``.

    ``empty`` are the slots without a pair, counted from ``start``; None if there are none.
    """

    first: int
    last: int
    start: int
    width: int
    empty: Int64[Tensor, " e"] | None = None

    @property
    def slots(self) -> slice:
        return slice(self.start, self.start + (self.last - self.first) * self.width)


def _batches(counts: list[int]) -> list[Batch]:
    """Consecutive weights put together as long as there are few slots; a weight with many pairs has its own batch."""
    batches, first, start = [], 0, 0
    while first < len(counts):
        last, width = first + 1, counts[first]
        while last < len(counts) and (last + 1 - first) * max(width, counts[last]) <= _ROWS_PER_BATCH:
            width = max(width, counts[last])
            last += 1
        if width:
            batches.append(Batch(first, last, start, width))
        start += (last - first) * width
        first = last
    return batches


class Side:
    """One end of a kernel map.

    Attributes:
        count: number of voxels.
        rows: the voxel's row for each slot; an empty slot has row 0.
    """

    def __init__(self, count: int, rows: Int64[Tensor, " slots"], filled: Int64[Tensor, " pairs"]):
        self.count, self.rows, self._filled = count, rows, filled

    @cached_property
    def slots_by_row(self) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " n1"]]:
        """The filled slots, those of the first row first, and where each row's begin (and the last row's end)."""
        order, bounds = group_rows(self.rows[self._filled], self.count)
        return self._filled[order], bounds


class KernelMap:
    """Pairs (weight, input row, output row), as slots sorted by weight.

    Attributes:
        source, target: the two ends.
        batches: weights that are multiplied together; slots without a pair fill them up to equal widths.
    """

    def __init__(self, source: Side, target: Side, batches: list[Batch]):
        self.source, self.target, self.batches = source, target, batches

    @classmethod
    def from_pairs(
        cls,
        sources: Int64[Tensor, " pairs"],
        targets: Int64[Tensor, " pairs"],
        counts: list[int],
        num_sources: int,
        num_targets: int,
    ) -> "KernelMap":
        """From the rows of all pairs, sorted by weight, and the number of pairs of each weight."""
        batches = _batches(counts)
        used = [sources.new_zeros(0, dtype=torch.bool)]
        for batch in batches:
            taken = sources.new_tensor(counts[batch.first : batch.last])[:, None]
            used.append((torch.arange(batch.width, device=sources.device) < taken).reshape(-1))
            if sum(counts[batch.first : batch.last]) < used[-1].numel():
                batch.empty = (~used[-1]).nonzero()[:, 0]
        filled = torch.cat(used).nonzero()[:, 0]
        rows = sources.new_zeros(2, sum(len(part) for part in used))
        rows[0, filled], rows[1, filled] = sources, targets
        return cls(Side(num_sources, rows[0], filled), Side(num_targets, rows[1], filled), batches)

    def transposed(self) -> "KernelMap":
        """The same pairs from output to input."""
        return KernelMap(self.target, self.source, self.batches)


def kernel_map(family: VoxelFamily, stride: int, spec: ConvSpec) -> KernelMap:
    """The map of a convolution of a tensor of the given stride; it is built once per family.

    Raises:
        UserError: the kernel reaches too far, or a transposed convolution has no finer voxels.
    """
    if spec.transposed:
        fine = family.finer(stride, spec.stride)
        forward = ConvSpec(spec.kernel_size, spec.stride, spec.dilation)
        return kernel_map(family, fine.stride, forward).transposed()
    key = ("kernel map", stride, spec)
    if key not in family.cache:
        source = family.levels[stride]
        target = source if spec.stride == 1 else family.coarser(stride, spec.stride)
        family.cache[key] = _build(source, target, spec)
    return family.cache[key]


def _build(source: VoxelSet, target: VoxelSet, spec: ConvSpec) -> KernelMap:
    offsets = [(x * source.stride, y * source.stride, z * source.stride) for x, y, z in spec.offsets()]
    if max(abs(cell) for offset in offsets for cell in offset) > MAX_REACH:
        raise UserError(
            f"sparse convolution of kernel {spec.kernel_size}, dilation {spec.dilation} at stride {source.stride}",
            f"reaches farther than {MAX_REACH} voxels",
            "Use a smaller kernel, dilation or stride",
        )
    # Of a set onto itself, an offset and its opposite have the same pairs, turned round: half of them are looked for.
    onto_itself = source is target and spec.kernel_size % 2 == 1
    wanted = [offset for offset in offsets if offset < (0, 0, 0)] if onto_itself else offsets
    pairs = _find_pairs(source, target, wanted, single=spec.dilation > 1)
    if onto_itself:
        pairs |= {(-x, -y, -z): (to, of) for (x, y, z), (of, to) in pairs.items()}
        itself = torch.arange(len(source), device=source.keys.device)
        pairs[0, 0, 0] = itself, itself
    sources, targets = zip(*(pairs[offset] for offset in offsets), strict=True)
    counts = [len(rows) for rows in sources]
    return KernelMap.from_pairs(torch.cat(sources), torch.cat(targets), counts, len(source), len(target))


def _find_pairs(
    source: VoxelSet, target: VoxelSet, offsets: list[tuple[int, int, int]], single: bool
) -> dict[tuple[int, int, int], tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]]:
    """Offset -> input and output rows of its pairs.

    Args:
        single: whether offsets are looked for one by one, and not in columns along z, where there may be voxels
            between them.
    """
    columns: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for x, y, z in sorted(offsets):
        columns.setdefault((x, y, z) if single else (x, y), []).append((x, y, z))
    by_height: dict[int, list[list[tuple[int, int, int]]]] = {}
    for column in columns.values():
        by_height.setdefault(len(column), []).append(column)
    pairs = {}
    for height, group in by_height.items():
        steps = target.keys.new_tensor([pack_offset(*column[0]) for column in group])
        table = source.find_columns(target.keys[None] + steps[:, None], height).transpose(0, 1).flatten(0, 1)
        cells, targets = (table >= 0).nonzero(as_tuple=True)
        counts = torch.bincount(cells, minlength=len(table)).tolist()
        rows = zip(table[cells, targets].split(counts), targets.split(counts), strict=True)
        pairs |= zip(itertools.chain(*group), rows, strict=True)
    return pairs
