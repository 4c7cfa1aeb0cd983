"""Which input voxel meets which output voxel under which weight of a convolution's kernel."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from toolbox.errors import UserError

from .keys import MAX_REACH
from .lookup import Offset
from .neighbourhoods import Neighbourhoods, neighbourhoods
from .row_order import RowOrder
from .voxels import VoxelFamily, VoxelSet

# Pairs that are multiplied together on a CPU, so that what is made of them stays in its cache; and where the pairs are
# few, output voxels.
_PAIRS, _MOST_VOXELS = 12288, 65536
# Neighbourhoods multiply zeros, too, but neither gather nor add up pair by pair: they are faster where more than this
# part of all neighbours is there, or more than such a part for every channel. As measured with 20,000 voxels.
_MOST_FILLED, _FILLED_PER_CHANNEL = 0.55, 0.008


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


Part = tuple[int, Int64[Tensor, " _"], Int64[Tensor, " _"]]


@dataclass(frozen=True)
class KernelMap:
    """Which voxels meet under which weight; places are rows in the order (batch, x, y, z).

    Attributes:
        parts: number of the weight, places in input and output of some pairs; no output voxel twice in one part. Parts
            of one region follow one another.
        identity: number of the weight under which every voxel meets itself, which is not in ``parts``; or None.
        source_order, target_order: of the rows of input and output.
        num_sources, num_targets: how many there are.
    """

    parts: list[Part]
    identity: int | None
    source_order: RowOrder
    target_order: RowOrder
    num_sources: int
    num_targets: int

    def transposed(self) -> "KernelMap":
        """The same pairs from output to input."""
        turned = [(weight, targets, sources) for weight, sources, targets in self.parts]
        orders = self.target_order, self.source_order
        return KernelMap(turned, self.identity, *orders, self.num_targets, self.num_sources)


def kernel_map(
    family: VoxelFamily, stride: int, spec: ConvSpec, channels: tuple[int, int]
) -> KernelMap | Neighbourhoods:
    """The map of a convolution of a tensor of the given stride; each kind is built once per family.

    Neighbourhoods where, on a CPU, a set meets itself and enough neighbours are there; otherwise pairs.

    Args:
        channels: of input and output.

    Raises:
        UserError: the kernel reaches too far, or a transposed convolution has no finer voxels.
    """
    if spec.transposed:
        fine = family.finer(stride, spec.stride)
        forward = ConvSpec(spec.kernel_size, spec.stride, spec.dilation)
        return _pairs(family, fine.stride, forward).transposed()
    if spec.stride == 1 and spec.kernel_size % 2 == 1:
        return _onto_itself(family, stride, spec, channels)
    return _pairs(family, stride, spec)


def _onto_itself(
    family: VoxelFamily, stride: int, spec: ConvSpec, channels: tuple[int, int]
) -> KernelMap | Neighbourhoods:
    """The map of a set onto itself: each offset has its opposite, as far from the end as it is from the beginning."""
    voxels, cache, offsets, half = family.levels[stride], family.cache, _offsets(spec, stride), spec.volume // 2
    on_cpu, found, filled = voxels.coords.device.type == "cpu", None, ("filled", stride, spec)
    # For pairs half of the offsets are enough.
    wanted = offsets if on_cpu else offsets[:half]
    if filled not in cache:
        found = voxels.in_order.surroundings(wanted)
        cache[filled] = int(torch.count_nonzero(found >= 0)) / max(found.numel(), 1)
    whole = on_cpu and cache[filled] >= _min_filled(*channels)
    key = ("neighbourhoods" if whole else "pairs", stride, spec)
    if key not in cache:
        found = voxels.in_order.surroundings(wanted) if found is None else found
        if whole:
            cache[key] = neighbourhoods(voxels.row_order, found)
        else:
            cache[key] = _mirrored_pairs(voxels, found[:, :half], cache[filled])
    return cache[key]


def _min_filled(before: int, after: int) -> float:
    """The part of all neighbours from which on neighbourhoods are faster than pairs."""
    channels = 2 * before * after / (before + after)
    return min(_MOST_FILLED, _FILLED_PER_CHANNEL * channels)


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


def _mirrored_pairs(voxels: VoxelSet, found: Int32[Tensor, "n h"], filled: float) -> KernelMap:
    """From the neighbours under the first half of the offsets: an opposite has the same pairs, turned round."""
    half, parts = found.shape[1], []
    for start, rows in _regions(found, filled):
        for k, sources, targets in _parts(rows.T.contiguous(), start):
            parts += [(k, sources, targets), (2 * half - k, targets, sources)]
    order = voxels.row_order
    return KernelMap(parts, half, order, order, len(voxels), len(voxels))


def _pairs(family: VoxelFamily, stride: int, spec: ConvSpec) -> KernelMap:
    key = ("pairs", stride, spec)
    if key not in family.cache:
        source, offsets, parts = family.levels[stride], _offsets(spec, stride), []
        target = source if spec.stride == 1 else family.coarser(stride, spec.stride)
        for start, coords in _regions(target.in_order.coords, 1.0):
            parts += _parts(source.in_order.neighbours(coords, offsets), start)
        orders = source.row_order, target.row_order
        family.cache[key] = KernelMap(parts, None, *orders, len(source), len(target))
    return family.cache[key]


def _regions(rows: Int32[Tensor, "n _"], filled: float) -> Iterator[tuple[int, Int32[Tensor, "r _"]]]:
    """Where each region of output voxels begins, and its rows, if such a part of all pairs is there."""
    size = max(len(rows), 1)
    if rows.device.type == "cpu":
        size = int(_PAIRS / max(filled, _PAIRS / _MOST_VOXELS))
    return zip(range(0, max(len(rows), 1), size), rows.split(size), strict=True)


def _parts(places: Int32[Tensor, "k r"], start: int) -> list[Part]:
    """The pairs of a region that begins at ``start``, from the places of its sources (-1: there is none)."""
    there = places >= 0
    counts = there.sum(dim=1).tolist()
    sources, targets = places[there].long(), there.nonzero()[:, 1] + start
    parts = zip(range(len(places)), sources.split(counts), targets.split(counts), strict=True)
    return [part for part in parts if len(part[1])]
