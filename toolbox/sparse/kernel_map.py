"""Which input voxel meets which output voxel under which weight of a convolution's kernel."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from toolbox.errors import UserError

from .cpu.loops import group_pairs
from .cpu.threads import run
from .keys import MAX_REACH
from .lookup import Offset
from .voxels import VoxelFamily, VoxelSet

# Output voxels of a block: few enough that their features stay in a processor's cache, and enough that most rows that
# are multiplied together fill a tile.
_BLOCK = 256


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


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of input and output, by block of output voxels, then by weight; each output row is in one block.

    Attributes:
        sources, targets: rows of input and output; no row comes twice under one weight.
        starts: where the pairs of each block and weight begin, and the last end; on the CPU.
        volume: number of weights.
        num_targets: number of output rows.
        identity: number of the weight under which each row meets itself, one after the other, in one block; or None.
    """

    sources: Int32[Tensor, " p"]
    targets: Int32[Tensor, " p"]
    starts: Int64[Tensor, " _"]
    volume: int
    num_targets: int
    identity: int | None = None

    def parts(self) -> Iterator[tuple[int, Int32[Tensor, " r"], Int32[Tensor, " r"]]]:
        """Number of the weight, sources and targets of the pairs of each block and weight that has any."""
        for place, (first, last) in enumerate(pairwise(self.starts.tolist())):
            if first < last:
                yield place % self.volume, self.sources[first:last], self.targets[first:last]


class PairTable:
    """Which voxels of a set meet which of another, the same or a coarser one, under which weight.

    Args:
        table: for each voxel of the coarser set the finer one under each weight, -1 where there is none; both counted
            in the order (batch, x, y, z).
        fine, coarse: the sets.
        mirrored: it is one set, and each weight's opposite is as far from the last as it is from the first.
    """

    def __init__(self, table: Int32[Tensor, "m k"], fine: VoxelSet, coarse: VoxelSet, mirrored: bool):
        self._table, self._fine, self._coarse, self.mirrored = table, fine, coarse, mirrored

    @cached_property
    def down(self) -> Pairs:
        """From fine to coarse."""
        return _grouped(self._table, self._fine, self._coarse)

    @cached_property
    def up(self) -> Pairs:
        """From coarse to fine."""
        count, volume = self._table.shape
        behind = len(self._fine)  # a row for those that are not there
        fine = self._table.masked_fill(self._table < 0, behind).long()
        coarse = torch.arange(count, dtype=torch.int32, device=fine.device)[:, None].expand(-1, volume)
        table = self._table.new_full((behind + 1, volume), -1).scatter_(0, fine, coarse)
        return _grouped(table[:behind], self._coarse, self._fine)


@dataclass(frozen=True)
class KernelMap:
    """Which input voxel meets which output voxel under which weight of a convolution."""

    table: PairTable
    transposed: bool

    @property
    def pairs(self) -> Pairs:
        """From input to output."""
        return self.table.up if self.transposed else self.table.down

    def back(self, weight: Float[Tensor, "k c_in c_out"]) -> tuple[Pairs, Float[Tensor, "k c_out c_in"]]:
        """The pairs from output to input, and weights for them that take gradients back."""
        weight = weight.transpose(1, 2)
        if self.table.mirrored:
            return self.table.down, weight.flip(0)
        return self.table.down if self.transposed else self.table.up, weight


def kernel_map(family: VoxelFamily, stride: int, spec: ConvSpec) -> KernelMap:
    """The map of a convolution of a tensor of the given stride; what it is made of is found once per family.

    Raises:
        UserError: the kernel reaches too far, or a transposed convolution has no finer voxels.
    """
    if spec.transposed:
        stride = family.finer(stride, spec.stride).stride
    key = ("pairs", stride, replace(spec, transposed=False))
    if key not in family.cache:
        family.cache[key] = _pair_table(family, stride, spec)
    return KernelMap(family.cache[key], spec.transposed)


def _pair_table(family: VoxelFamily, stride: int, spec: ConvSpec) -> PairTable:
    fine, offsets = family.levels[stride], _offsets(spec, stride)
    if spec.stride == 1:
        return PairTable(fine.in_order.surroundings(offsets), fine, fine, spec.kernel_size % 2 == 1)
    coarse = family.coarser(stride, spec.stride)
    table = fine.in_order.neighbours(coarse.in_order.coords, offsets)
    return PairTable(table.T, fine, coarse, mirrored=False)


def _offsets(spec: ConvSpec, stride: int) -> list[Offset]:
    """The kernel's cells in voxels of stride 1."""
    offsets = [(x * stride, y * stride, z * stride) for x, y, z in spec.offsets()]
    if max(abs(cell) for offset in offsets for cell in offset) > MAX_REACH:
        raise UserError(
            f"sparse convolution of kernel {spec.kernel_size}, dilation {spec.dilation} at stride {stride}",
            f"reaches farther than {MAX_REACH} voxels",
            "Use a smaller kernel, dilation or stride",
        )
    return offsets


def _grouped(table: Int32[Tensor, "m k"], sources: VoxelSet, targets: VoxelSet) -> Pairs:
    """The pairs in a table of each target's source under each weight; see ``PairTable``."""
    volume, identity = table.shape[1], None
    if _in_blocks(table.device):
        found = run(group_pairs, table.contiguous().numpy(), _BLOCK)
        starts, source_places, target_places = map(torch.from_numpy, found)
    else:
        there = table.T >= 0
        starts = F.pad(there.sum(dim=1).cumsum(dim=0), (1, 0)).cpu()
        source_places, target_places = table.T[there], there.nonzero()[:, 1].int()
        if sources is targets and volume % 2 and sources.order is None:
            identity = volume // 2
    rows = _rows(sources, source_places), _rows(targets, target_places)
    return Pairs(*rows, starts, volume, len(targets), identity)


def _in_blocks(device: torch.device) -> bool:
    return device.type == "cpu"


def _rows(voxels: VoxelSet, places: Int32[Tensor, " p"]) -> Int32[Tensor, " p"]:
    """The rows of voxels that are counted in their set's order."""
    return places if voxels.order is None else voxels.order.int().index_select(0, places)
