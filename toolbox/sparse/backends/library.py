"""What backends with a library have in common: its tensors, and its order of rows.

A library keeps neighbours in its own tensors, one for each set of voxels, with coordinates that count voxels of
the tensor's stride from 0, and may put the rows of a coarser set in an order of its own.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from toolbox.errors import UserError
from toolbox.sparse.backends import Backend
from toolbox.sparse.kernel_map import ConvSpec
from toolbox.sparse.tensor import SparseTensor
from toolbox.sparse.voxels import VoxelFamily, VoxelSet

# Grids begin and end at multiples of this (2^5 * 3 * 5), so that the usual strides divide them evenly.
ALIGNMENT = 480


@dataclass
class Level:
    """The library's tensor for a set of voxels; ``to_ours`` has the library's row for each of our rows."""

    tensor: Any
    to_ours: Int64[Tensor, " n"]
    from_ours: Int64[Tensor, " n"]


@dataclass
class _State:
    """What a family has in a library: where its grid begins, its levels by stride, and the coarse ends of maps."""

    origin: Int32[Tensor, "3"]
    levels: dict[int, Level] = field(default_factory=dict)
    maps: dict[tuple[int, ConvSpec], Level] = field(default_factory=dict)


class LibraryBackend(Backend):
    """Convolutions by a library; see ``Backend``.

    Attributes:
        name: of the library.
        device_type: where it computes forwards and backwards.
    """

    name: str
    device_type = "cuda"

    @abstractmethod
    def check(self, spec: ConvSpec) -> None:
        """Raise UserError where the library cannot do a geometry."""

    @abstractmethod
    def wrap(
        self, feats: Float[Tensor, "n c"], grid: Int32[Tensor, "n 4"], stride: int, extent: list[int], batch_size: int
    ) -> Any:
        """The library's tensor; ``grid`` counts voxels of the stride, each axis up to ``extent``."""

    @abstractmethod
    def with_feats(self, tensor: Any, feats: Float[Tensor, "n c"]) -> Any:
        """The same voxels, and all that is known about them, with other features."""

    @abstractmethod
    def unwrap(self, tensor: Any) -> tuple[Float[Tensor, "n c"], Int32[Tensor, "n 4"]]:
        """Features and grid coordinates."""

    @abstractmethod
    def run(self, tensor: Any, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec, stride: int) -> Any:
        """The convolution; ``stride`` is that of the finer of the two ends."""

    def convolve(
        self, x: SparseTensor, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec
    ) -> Float[Tensor, "m c_out"]:
        """See ``Backend``."""
        self.check(spec)
        coarse = x.stride if spec.transposed else x.stride * spec.stride
        if ALIGNMENT % coarse:
            raise UserError(
                f"sparse backend '{self.name}'",
                f"stride {coarse} does not divide {ALIGNMENT}",
                "Use the backend 'torch'",
            )
        if x.feats.device.type != self.device_type:
            raise UserError(
                f"sparse backend '{self.name}'",
                f"computes on '{self.device_type}' alone, and the features are on '{x.feats.device}'",
                "Move model and data there, or use the backend 'torch'",
            )
        if spec.transposed and spec.stride == 1:
            raise UserError(
                f"sparse backend '{self.name}'",
                "cannot do a transposed convolution of stride 1",
                "Use one that is not transposed, or the backend 'torch'",
            )
        if len(x) == 0:
            return x.feats @ weight.sum(dim=0)  # libraries take no empty tensors; the gradients are zeros
        # A library prepares less where no gradient is asked for, so the two cases do not share what it prepared.
        key = (self.name, torch.is_grad_enabled())
        state = x.family.cache.setdefault(key, _State(_origin(x.voxels)))
        return self._up(x, weight, spec, state) if spec.transposed else self._down(x, weight, spec, state)

    def _down(self, x: SparseTensor, weight: Tensor, spec: ConvSpec, state: _State) -> Tensor:
        """Submanifold and strided convolutions."""
        source = self._level(x.family, x.stride, x.feats, state)
        out = self.run(self.with_feats(source.tensor, x.feats[source.from_ours]), weight, spec, x.stride)
        feats, grid = self.unwrap(out)
        # Kept for the next layer: what the library has found out, but not the features' history.
        found = self.with_feats(out, feats.detach())
        if spec.stride == 1:
            source.tensor = found
            return feats[source.to_ours]
        coarse = x.family.coarser(x.stride, spec.stride)
        level = _match(found, grid, coarse, state.origin)
        state.levels.setdefault(coarse.stride, level)
        state.maps[(x.stride, spec)] = level
        return feats[level.to_ours]

    def _up(self, x: SparseTensor, weight: Tensor, spec: ConvSpec, state: _State) -> Tensor:
        """A transposed convolution goes back along the map of a strided one, which is made if nobody has yet."""
        fine = x.family.finer(x.stride, spec.stride)
        forward = ConvSpec(spec.kernel_size, spec.stride, spec.dilation)
        if (fine.stride, forward) not in state.maps:
            feats = x.feats.new_zeros(len(fine), weight.shape[2])
            self._down(x.at_stride(fine.stride, feats), weight.detach().transpose(1, 2), forward, state)
        coarse = state.maps[(fine.stride, forward)]
        out = self.run(self.with_feats(coarse.tensor, x.feats[coarse.from_ours]), weight, spec, fine.stride)
        feats, _ = self.unwrap(out)
        return feats[state.levels[fine.stride].to_ours]

    def _level(self, family: VoxelFamily, stride: int, feats: Tensor, state: _State) -> Level:
        if stride not in state.levels:
            voxels = family.levels[stride]
            grid = voxels.coords.clone()
            grid[:, 1:] = (grid[:, 1:] - state.origin).div(stride, rounding_mode="floor")
            last = (grid.amax(dim=0) + 1).tolist()
            aligned = [-(-size * stride // ALIGNMENT) * ALIGNMENT // stride for size in last[1:]]
            rows = torch.arange(len(voxels), device=grid.device)
            state.levels[stride] = Level(self.wrap(feats, grid, stride, aligned, last[0]), rows, rows)
        return state.levels[stride]


def _origin(voxels: VoxelSet) -> Int32[Tensor, "3"]:
    """At or below all coordinates, and aligned."""
    return voxels.coords[:, 1:].amin(dim=0).div(ALIGNMENT, rounding_mode="floor") * ALIGNMENT


def _match(tensor: Any, grid: Int32[Tensor, "n 4"], voxels: VoxelSet, origin: Int32[Tensor, "3"]) -> Level:
    """Compare the library's voxels with ours.

    Raises:
        UserError: they differ.
    """
    coords = grid.int().clone()
    coords[:, 1:] = coords[:, 1:] * voxels.stride + origin
    theirs = VoxelSet(coords, voxels.stride)
    to_ours, from_ours = theirs.find(voxels.coords), voxels.find(theirs.coords)
    if len(theirs) != len(voxels) or bool((to_ours < 0).any()):
        raise UserError(
            "sparse backend",
            f"the library gave {len(theirs)} voxels of stride {voxels.stride} where {len(voxels)} are expected",
            "Use the backend 'torch', and report this with the library's version",
        )
    return Level(tensor, to_ours, from_ours)
