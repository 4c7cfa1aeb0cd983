"""Which input voxel meets which output voxel under which weight of a convolution's kernel."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from toolbox.compiled.run import run
from toolbox.errors import UserError

from .cpu.loops import group_pairs
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
        identity: number of the weight under which every row meets itself, in one block; or None.
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


class PairsBothWays:
    """The pairs of the voxels of a set and those of another, the same or a coarser one.

    Args:
        table: for each voxel of the coarser set, in its order, the row of the finer one under each weight, -1 where
            there is none.
        fine, coarse: the sets.
        mirrored: it is one set, and each weight's opposite is as far from the last as it is from the first.

    Attributes:
        down: from fine to coarse.
    """

    def __init__(self, table: Int32[Tensor, "m k"], fine: VoxelSet, coarse: VoxelSet, mirrored: bool):
        self.down, self.mirrored = _pairs(table, coarse, mirrored), mirrored
        self._table, self._fine, self._coarse = None if mirrored else table, fine, coarse

    @cached_property
    def up(self) -> Pairs:
        """From coarse to fine, for sets that are not mirrored."""
        behind = len(self._fine)  # a row for those that are not there
        fine = self._table.masked_fill(self._table < 0, behind).long()
        coarse = self._coarse.order[:, None].expand_as(fine)
        table = self._table.new_full((behind + 1, fine.shape[1]), -1).scatter_(0, fine, coarse)
        return _pairs(table.index_select(0, self._fine.order), self._fine, mirrored=False)


@dataclass(frozen=True)
class KernelMap:
    """Which input voxel meets which output voxel under which weight of a convolution."""

    both: PairsBothWays
    transposed: bool

    @property
    def pairs(self) -> Pairs:
        """From input to output."""
        return self.both.up if self.transposed else self.both.down

    def back(self, weight: Float[Tensor, "k c_in c_out"]) -> tuple[Pairs, Float[Tensor, "k c_out c_in"]]:
        """The pairs from output to input, and weights for them that take gradients back."""
        weight = weight.transpose(1, 2)
        if self.both.mirrored:
            return self.both.down, weight.flip(0)
        return (self.both.down if self.transposed else self.both.up), weight


def kernel_map(family: VoxelFamily, stride: int, spec: ConvSpec) -> KernelMap:
    """The map of a convolution of a tensor of the given stride; what it is made of is found once per family.

    Raises:
        UserError: the kernel reaches too far, or a transposed convolution has no finer voxels.
    """
    if spec.transposed:
        stride = family.finer(stride, spec.stride).stride
    key = ("pairs", stride, replace(spec, transposed=False))
    if key not in family.cache:
        family.cache[key] = _both_ways(family, stride, spec)
    return KernelMap(family.cache[key], spec.transposed)


def _both_ways(family: VoxelFamily, stride: int, spec: ConvSpec) -> PairsBothWays:
    fine, offsets = family.levels[stride], _offsets(spec, stride)
    if spec.stride == 1:
        return PairsBothWays(fine.surroundings(offsets), fine, fine, mirrored=spec.kernel_size % 2 == 1)
    coarse = family.coarser(stride, spec.stride)
    table = fine.neighbours(coarse.coords.index_select(0, coarse.order), offsets)
    return PairsBothWays(table.T.contiguous(), fine, coarse, mirrored=False)


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


def _pairs(table: Int32[Tensor, "m k"], targets: VoxelSet, mirrored: bool) -> Pairs:
    """The pairs in a table of each target's source under each weight; see ``PairsBothWays``."""
    volume = table.shape[1]
    if _in_blocks(table.device):
        starts, *rows = run(group_pairs, table.numpy(), targets.order.numpy(), _BLOCK)
        return Pairs(*map(torch.from_numpy, rows), torch.from_numpy(starts), volume, len(targets))
    there = table.T >= 0
    starts = F.pad(there.sum(dim=1).cumsum(dim=0), (1, 0)).cpu()
    rows = table.T[there], targets.order.index_select(0, there.nonzero()[:, 1])
    return Pairs(*rows, starts, volume, len(targets), volume // 2 if mirrored else None)


def _in_blocks(device: torch.device) -> bool:
    return device.type == "cpu"
