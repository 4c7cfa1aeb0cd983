"""Which input voxel meets which output voxel under which weight of a convolution's kernel."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from toolbox.errors import UserError

from .keys import MAX_REACH
from .lookup import Offset
from .neighbourhoods import Neighbourhoods, neighbourhoods
from .voxels import VoxelFamily, VoxelSet

# Output voxels whose pairs are multiplied together.
_REGION = 8192
# Neighbourhoods multiply zeros, too, but faster: they pay where at least this part of all neighbours is there.
_MIN_FILLED = 0.3


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
    """Which rows meet under which weight.

    Attributes:
        parts: number of the weight, input and output rows of some pairs; no output row twice in one part. Parts of the
            same region follow one another.
        identity: number of the weight under which every row meets itself, which is not in ``parts``; or None.
        num_sources, num_targets: how many rows there are.
    """

    parts: list[Part]
    identity: int | None
    num_sources: int
    num_targets: int

    def transposed(self) -> "KernelMap":
        """The same pairs from output to input."""
        turned = [(weight, targets, sources) for weight, sources, targets in self.parts]
        return KernelMap(turned, self.identity, self.num_targets, self.num_sources)


def kernel_map(family: VoxelFamily, stride: int, spec: ConvSpec) -> KernelMap | Neighbourhoods:
    """The map of a convolution of a tensor of the given stride; it is built once per family.

    Neighbourhoods where, on a CPU, a set meets itself and enough neighbours are there; otherwise pairs.

    Raises:
        UserError: the kernel reaches too far, or a transposed convolution has no finer voxels.
    """
    if spec.transposed:
        fine = family.finer(stride, spec.stride)
        forward = ConvSpec(spec.kernel_size, spec.stride, spec.dilation)
        return _pairs(family, fine.stride, forward).transposed()
    voxels = family.levels[stride]
    if not _onto_itself(spec) or voxels.coords.device.type != "cpu":
        return _pairs(family, stride, spec)
    key = ("neighbourhoods", stride, spec)
    if key not in family.cache:
        family.cache[key] = neighbourhoods(voxels, _offsets(spec, stride), _MIN_FILLED)
    return family.cache[key] or _pairs(family, stride, spec)


def _onto_itself(spec: ConvSpec) -> bool:
    """Whether a set meets itself under offsets of which each has its opposite."""
    return spec.stride == 1 and spec.kernel_size % 2 == 1


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


def _pairs(family: VoxelFamily, stride: int, spec: ConvSpec) -> KernelMap:
    key = ("pairs", stride, spec)
    if key not in family.cache:
        source = family.levels[stride]
        target = source if spec.stride == 1 else family.coarser(stride, spec.stride)
        family.cache[key] = _build(source, target, spec)
    return family.cache[key]


def _build(source: VoxelSet, target: VoxelSet, spec: ConvSpec) -> KernelMap:
    # Of a set onto itself, an offset and its opposite have the same pairs, turned round: half of them are looked for.
    onto_itself, offsets = _onto_itself(spec), _offsets(spec, source.stride)
    wanted = offsets[: spec.volume // 2] if onto_itself else offsets
    rows = torch.arange(len(target), device=target.coords.device) if target.order is None else target.order
    parts: list[Part] = []
    # On a CPU region by region, so that rows stay in its cache from weight to weight.
    for region in rows.split(_REGION if rows.device.type == "cpu" else max(len(rows), 1)) if wanted else ():
        found = _find_pairs(source, target, region, wanted)
        parts += found
        if onto_itself:
            parts += [(spec.volume - 1 - weight, targets, sources) for weight, sources, targets in found]
    return KernelMap(parts, spec.volume // 2 if onto_itself else None, len(source), len(target))


def _find_pairs(source: VoxelSet, target: VoxelSet, region: Int64[Tensor, " r"], offsets: list[Offset]) -> list[Part]:
    """The pairs of some rows of the target."""
    rows = source.neighbours(target.coords.index_select(0, region), offsets)
    there = rows >= 0
    counts = there.sum(dim=1).tolist()
    targets = region.index_select(0, there.nonzero()[:, 1]).split(counts)
    sources = rows[there].long().split(counts)
    return [part for part in zip(range(len(offsets)), sources, targets, strict=True) if len(part[1])]
