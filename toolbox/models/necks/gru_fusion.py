"""Fragment after fragment of one scene: features are merged with a memory of the scene by a recurrent unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from toolbox.registry import NECKS
from toolbox.sparse import PointTensor
from toolbox.structures import FragmentBatch, VoxelMap, distinct_rows, voxel_positions

from .conv_gru import ConvGRU

_NEAR_SURFACE = 1.0  # |tsdf| below it was seen near a surface


@dataclass
class FusedLevel:
    """What ``GRUFusion`` returns of a level.

    Attributes:
        coords: (batch, x, y, z) in voxels of the finest level: those of the fragment, and what the memory has in its
            window; sorted.
        feats: the new hidden state there.
        truth: TSDF truth there, of this fragment and of those before it; or None.
        had_memory: whether there was a memory before.
    """

    coords: Int32[Tensor, "n 4"]
    feats: Float[Tensor, "n c"]
    truth: Float[Tensor, " n"] | None
    had_memory: bool


@NECKS.register_module()
class GRUFusion(nn.Module):
    """A recurrent unit for each level, and the scene's hidden state (NeuralRecon, section 3.3).

    A fragment's voxels are joined by those that the memory holds in its window; features that one of the two lacks are
    0. The new state takes the place of the window's part of the memory. The memory belongs to no state dict, holds one
    scene, and passes no gradients from fragment to fragment.

    Args:
        channels: of every level, finest first.
        voxel_size: of the finest level.
        backend: of the sparse convolutions.
        gate_alone: send features through the units with an empty state while the neck's memory is off, so that the
            phase with memory begins with trained units; else features pass by them, as published.
        published_scrambled_rows: see ``ConvGRU``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        voxel_size: float = 0.04,
        backend: str | None = None,
        gate_alone: bool = False,
        published_scrambled_rows: bool = False,
    ):
        super().__init__()
        self.voxel_size, self.gate_alone = voxel_size, gate_alone
        options = {"backend": backend, "published_scrambled_rows": published_scrambled_rows}
        self.cells = nn.ModuleList(
            ConvGRU(c, voxel_size=voxel_size * 2**level, **options) for level, c in enumerate(channels)
        )
        self.forget()

    def forget(self) -> None:
        """Start a new scene."""
        self.hidden: list[VoxelMap | None] = [None] * len(self.cells)
        self.truth: list[VoxelMap | None] = [None] * len(self.cells)
        self.scene_origin: Tensor | None = None

    def memory(self) -> dict[str, Any]:
        """The scene's memory as tensors on the CPU, for a file."""
        origin = self.scene_origin
        return {
            "scene_origin": None if origin is None else origin.cpu(),
            **{name: [_to_file(voxels) for voxels in getattr(self, name)] for name in ("hidden", "truth")},
        }

    def recall(self, memory: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what ``memory`` gave."""
        origin = memory["scene_origin"]
        self.scene_origin = None if origin is None else origin.to(device)
        for name in ("hidden", "truth"):
            setattr(self, name, [None if kept is None else _from_file(kept, device) for kept in memory[name]])

    def forward(
        self,
        level: int,
        coords: Int32[Tensor, "n 4"],
        feats: Float[Tensor, "n c"],
        batch: FragmentBatch,
        window: tuple[int, int, int],
    ) -> FusedLevel:
        """Merge a level's features with the memory, and remember the result.

        Args:
            coords: of a batch of one fragment, in voxels of the finest level from its origin.
            window: the fragment's size in voxels of the finest level.
        """
        if self.scene_origin is None:
            self.scene_origin = batch.origin[0]
        stride = 2**level
        start = self._start(batch.origin[0], stride)
        shape = tuple(-(-n // stride) for n in window)
        memory = self.hidden[level] or VoxelMap.empty(feats)
        had_memory = len(memory) > 0
        here = coords[:, 1:].long() // stride + start
        known = memory.select(memory.inside(start, shape))
        rows = known.joined(VoxelMap(here, feats.detach())).coords
        state, inputs = known.lookup(rows).to(feats.dtype), _scatter(here, feats, rows)
        union = torch.cat((rows.new_zeros(len(rows), 1), (rows - start) * stride), dim=1).int()
        new = self.cells[level](PointTensor(self._aligned(union, batch), state), inputs)
        self.hidden[level] = memory.substituted(start, shape, VoxelMap(rows, new.detach()))
        truth = None if batch.tsdf is None else self._fuse_truth(level, batch.tsdf[level][0], rows, start, shape)
        return FusedLevel(union, new, truth, had_memory)

    def without_memory(
        self, level: int, coords: Int32[Tensor, "n 4"], feats: Float[Tensor, "n c"], batch: FragmentBatch
    ) -> Float[Tensor, "n c"]:
        """What becomes of a level's features while the memory is off; nothing is remembered. Batches of any size."""
        if not self.gate_alone:
            return feats
        return self.cells[level](PointTensor(self._aligned(coords, batch), torch.zeros_like(feats)), feats)

    def _start(self, origin: Float[Tensor, "3"], stride: int) -> Tensor:
        """First voxel of the window, from the scene's origin, in voxels of the level."""
        offset = (origin - self.scene_origin.to(origin)).double() / (self.voxel_size * stride)
        return torch.round(offset).long()

    def _aligned(self, coords: Int32[Tensor, "n 4"], batch: FragmentBatch) -> Float[Tensor, "n 4"]:
        return aligned_points(coords, self.voxel_size, batch)

    def _fuse_truth(
        self,
        level: int,
        dense: Float[Tensor, "x y z"],
        rows: Tensor,
        start: Tensor,
        shape: tuple[int, int, int],
    ) -> Float[Tensor, " n"]:
        """Truth at voxels: this fragment's where it saw a surface, or else what was known, or else 1."""
        seen = (dense.abs() < _NEAR_SURFACE).nonzero()
        here = VoxelMap(seen + start, dense[tuple(seen.T)][:, None])
        memory = self.truth[level] or VoxelMap.empty(here.feats)
        inner = memory.select(memory.inside(start, shape)).joined(here)
        self.truth[level] = memory.substituted(start, shape, inner)
        return inner.lookup(rows, default=1.0)[:, 0]


def _to_file(voxels: VoxelMap | None) -> dict[str, Tensor] | None:
    return None if voxels is None else {"coords": voxels.coords.cpu(), "feats": voxels.feats.cpu()}


def _from_file(kept: Mapping[str, Tensor], device: torch.device) -> VoxelMap:
    return VoxelMap(kept["coords"].to(device), kept["feats"].to(device))


def aligned_points(coords: Int32[Tensor, "n 4"], voxel_size: float, batch: FragmentBatch) -> Float[Tensor, "n 4"]:
    """(batch, x, y, z) of voxels in the axes of each sample's upright middle camera, in metres."""
    to_aligned = batch.world_to_aligned_camera.to(batch.origin.dtype)[coords[:, 0].long()]
    position = voxel_positions(coords, voxel_size, batch.origin)
    with torch.autocast(position.device.type, enabled=False):  # half-precision positions would be voxels off
        turned = (to_aligned[:, :3, :3] @ position[:, :, None])[:, :, 0] + to_aligned[:, :3, 3]
    return torch.cat((coords[:, :1].to(turned.dtype), turned), dim=1)


def _scatter(coords: Tensor, feats: Float[Tensor, "n c"], rows: Tensor) -> Float[Tensor, "m c"]:
    """Features at the voxels ``rows``, which hold all of ``coords``, with gradients; 0 elsewhere."""
    _, place = distinct_rows(torch.cat((rows, coords)))
    target = place.new_empty(len(rows)).scatter_(0, place[: len(rows)], torch.arange(len(rows), device=rows.device))
    return feats.new_zeros(len(rows), feats.shape[1]).index_copy(0, target[place[len(rows) :]], feats)
