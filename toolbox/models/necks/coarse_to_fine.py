"""From image features to signed distances, coarse to fine (NeuralRecon, section 3.2; MonoSelfRecon, section 3)."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.geometry import scale_intrinsics
from toolbox.registry import NECKS
from toolbox.sparse import PointTensor
from toolbox.structures import FragmentBatch, SparseTSDF, VolumetricPrediction, VoxelMap, voxel_positions

from .back_projection import count_views
from .gru_fusion import aligned_points
from .sparsification import cap_per_sample

_MIN_VIEWS = 2
_APART = 4096  # voxels between the samples of a batch, laid out along x; more than a window has
_Config = dict[str, Any]


@NECKS.register_module()
class CoarseToFine(nn.Module):
    """Levels of sparse voxels: each splits the voxels that the coarser one kept, and looks at the images anew.

    At every level image features are projected into the voxels, joined by what the coarser level knew of them
    (features, TSDF, occupancy logit; the last is 1 without an occupancy head), filtered by a sparse network in the axes
    of the upright middle camera, and merged with the memory of the scene. Heads give TSDF and occupancy; a policy
    chooses the voxels that the next level splits into 8. All lists are finest first.

    Args:
        image_channels: of the backbone's levels.
        networks: sparse networks, from NECKS, one a level; they get ``in_channels`` and ``voxel_size``.
        voxel_size: of the finest level, in metres.
        window: voxels along x, y and z of the finest level; multiples of 2 ** (levels - 1).
        back_projection: settings of ``BackProjection``, of all levels.
        sparsifier: the policy, from NECKS.
        max_voxels: of each sample, that a level keeps while training: more are dropped at random; None keeps all.
        fusion: ``GRUFusion`` or another, from NECKS, which gets ``channels`` and ``voxel_size``; None has no memory.
        fusion_on: whether the memory is used from the start; ``fusion_on`` may be changed at any time.
        keep_unseen: with a memory, voxels that fewer than two views of the fragment see go on and are supervised, as
            published; else they keep what earlier fragments said of them, and no truth is needed to tell that unseen
            space is empty.
        carry_occupancy: False gives the next level 1 in place of the occupancy logit: the published MonoSelfRecon has
            an occupancy head that nothing uses where it trains without known depth.
        residual: finer levels add to the coarser level's TSDF, interpolated, so that they begin near the surface; no
            gradient passes there. Else every level says the whole, as published.

    Raises:
        UserError: lists of different lengths, or a window that does not halve.
    """

    def __init__(
        self,
        image_channels: Sequence[int],
        networks: Sequence[_Config],
        voxel_size: float = 0.04,
        window: Sequence[int] = (96, 96, 96),
        back_projection: _Config | None = None,
        sparsifier: _Config | None = None,
        max_voxels: Sequence[int] | None = (65536, 16384, 4096),
        fusion: _Config | None = None,
        fusion_on: bool = True,
        keep_unseen: bool = True,
        carry_occupancy: bool = True,
        residual: bool = False,
    ):
        super().__init__()
        self.voxel_size, self.window, self.max_voxels = voxel_size, tuple(window), max_voxels
        self._check(image_channels, networks)
        self.back_projections = nn.ModuleList(
            NECKS.build({"type": "BackProjection"} | (back_projection or {}) | {"channels": c}) for c in image_channels
        )
        self.networks = nn.ModuleList()
        carried = 0
        for level in reversed(range(len(networks))):
            incoming = self.back_projections[level].out_channels + carried
            settings = {"in_channels": incoming, "voxel_size": voxel_size * 2**level}
            self.networks.insert(0, NECKS.build({**networks[level], **settings}))
            carried = self.networks[0].out_channels + 2
        self.channels = tuple(network.out_channels for network in self.networks)
        self.sparsifier = NECKS.build(sparsifier or {"type": "TSDFBand"})
        self.fusion = fusion and NECKS.build({**fusion, "channels": self.channels, "voxel_size": voxel_size})
        self.fusion_on = fusion_on
        self.keep_unseen, self.carry_occupancy, self.residual = keep_unseen, carry_occupancy, residual

    @property
    def remembers(self) -> bool:
        """Whether fragments are merged with those before them."""
        return self.fusion is not None and self.fusion_on

    def forget(self) -> None:
        """Start a new scene."""
        if self.fusion is not None:
            self.fusion.forget()

    def forward(
        self,
        features: Sequence[Float[Tensor, "b v _ _ _"]],
        strides: Sequence[int],
        half_pixel: bool,
        batch: FragmentBatch,
        heads: Mapping[str, nn.Module] | nn.ModuleDict,
        previous: FragmentBatch | None = None,
    ) -> VolumetricPrediction:
        """TSDF of the batch's windows.

        Args:
            features: of the views.
            strides: image pixels per feature pixel, of each level.
            half_pixel: see ``scale_intrinsics``.
            heads: 'tsdf', and perhaps 'occupancy'.
            previous: the fragment that the memory met last.

        Raises:
            UserError: a memory, and more than one fragment at a time.
        """
        if self.remembers and len(batch.images) != 1:
            raise UserError(
                f"a batch of {len(batch.images)} fragments",
                "a network with a memory follows one scene at a time",
                "Set the data loader's batch_size=1, or the neck's fusion_on=False",
            )
        last = len(self.networks) - 1
        coords = self._coarsest(len(batch.images), last, batch.origin.device)
        carried: Tensor | None = None
        levels: list[SparseTSDF] = []
        for level in reversed(range(last + 1)):
            if level != last:
                coords, carried = _split(coords, 2**level), carried.repeat_interleave(8, dim=0)
            size = tuple(features[level].shape[-2:])
            cameras = _projections(batch, strides[level], half_pixel)
            lifted, count = self._lift(level, coords, features[level], cameras, batch)
            incoming = lifted if carried is None else torch.cat((lifted, carried), dim=1)
            feats = self.networks[level](PointTensor(aligned_points(coords, self.voxel_size, batch), incoming)).feats
            truth, with_previous = None, False
            if self.remembers:
                fused = self.fusion(level, coords, feats, batch, self.window)
                coords, feats, truth, with_previous = fused.coords, fused.feats, fused.truth, fused.had_memory
                points = voxel_positions(coords, self.voxel_size, batch.origin)
                count = count_views(points, cameras[0], size)
                if with_previous and previous is not None and self.keep_unseen:
                    count = count + count_views(points, _projections(previous, strides[level], half_pixel)[0], size)
            else:
                if self.fusion is not None:
                    feats = self.fusion.without_memory(level, coords, feats, batch)
                if batch.tsdf is not None:
                    truth = _at_voxels(batch.tsdf[level], coords, 2**level)
            coarser = levels[0] if levels and self.residual else None
            here = self._read(level, coords, feats, heads, batch, count, with_previous, truth, coarser)
            levels.insert(0, here)
            carries = here.occupancy is not None and self.carry_occupancy
            occupancy = here.occupancy if carries else torch.ones_like(here.tsdf)
            coords = coords[here.kept]
            carried = torch.cat((feats, here.tsdf[:, None], occupancy[:, None]), dim=1)[here.kept]
        return VolumetricPrediction(levels, levels[0].select(levels[0].kept), previous)

    def _lift(
        self,
        level: int,
        coords: Int32[Tensor, "n 4"],
        features: Float[Tensor, "b v c h w"],
        cameras: Float[Tensor, "b v 3 4"],
        batch: FragmentBatch,
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]]:
        """Image features in voxels, and how many views see each; rows of a sample follow one another."""
        points = voxel_positions(coords, self.voxel_size, batch.origin)
        own = points.split(torch.bincount(coords[:, 0], minlength=len(features)).tolist())
        parts = [self.back_projections[level](p, f, c) for p, f, c in zip(own, features, cameras, strict=True)]
        feats, counts = zip(*parts, strict=True)
        return torch.cat(feats), torch.cat(counts)

    def _read(
        self,
        level: int,
        coords: Int32[Tensor, "n 4"],
        feats: Float[Tensor, "n c"],
        heads: Mapping[str, nn.Module] | nn.ModuleDict,
        batch: FragmentBatch,
        count: Int64[Tensor, " n"],
        with_previous: bool,
        truth: Float[Tensor, " n"] | None,
        coarser: SparseTSDF | None,
    ) -> SparseTSDF:
        """What the heads say, and which voxels go on."""
        tsdf = heads["tsdf"](feats, level)
        if coarser is not None:
            tsdf = tsdf + _of_coarser(coarser, coords).to(tsdf.dtype)
        occupancy = heads["occupancy"](feats, level) if "occupancy" in heads else None
        # A memory also holds what earlier views saw.
        everywhere = with_previous and self.keep_unseen
        supervised = torch.ones_like(count, dtype=torch.bool) if everywhere else count >= _MIN_VIEWS
        with torch.no_grad():
            kept = self.sparsifier(tsdf, occupancy) & supervised
            if self.training and self.max_voxels is not None:
                kept = cap_per_sample(kept, coords, self.max_voxels[level])
        about = {"occupancy": occupancy, "num_views": count, "supervised": supervised, "kept": kept, "truth": truth}
        return SparseTSDF(coords, tsdf, self.voxel_size, batch.origin, 2**level, with_previous=with_previous, **about)

    def _coarsest(self, batch_size: int, level: int, device: torch.device) -> Int32[Tensor, "n 4"]:
        """All voxels of the windows at a level."""
        stride = 2**level
        axes = [torch.arange(batch_size), *(torch.arange(0, n, stride) for n in self.window)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 4).int().to(device)

    def _check(self, image_channels: Sequence[int], networks: Sequence[_Config]) -> None:
        lengths = {len(networks), len(image_channels), len(self.max_voxels or networks)}
        if len(lengths) > 1:
            raise UserError(
                "CoarseToFine",
                f"{len(networks)} networks, {len(image_channels)} levels of images, max_voxels={self.max_voxels}",
                "Give one of each for every level",
            )
        if any(n % 2 ** (len(networks) - 1) for n in self.window):
            raise UserError(
                f"window={self.window}",
                f"does not halve {len(networks) - 1} times",
                f"Use multiples of {2 ** (len(networks) - 1)}",
            )


def _split(coords: Int32[Tensor, "n 4"], stride: int) -> Int32[Tensor, "m 4"]:
    """The 8 voxels of edge ``stride`` in each voxel of twice that edge, one after the other."""
    corners = torch.tensor([(0, x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], device=coords.device)
    return (coords[:, None] + stride * corners.int()).reshape(-1, 4)


def _of_coarser(coarser: SparseTSDF, coords: Int32[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """TSDF of a coarser level at finer voxels: trilinear between those voxels that there are; without gradient."""
    stride, tsdf = coarser.stride, coarser.tsdf.detach()

    def cells(rows: Int32[Tensor, "m 4"]) -> Int64[Tensor, "m 3"]:
        inside = rows[:, 1:].long() // stride
        return torch.cat((inside[:, :1] + _APART * rows[:, :1], inside[:, 1:]), dim=1)

    known = VoxelMap(cells(coarser.coords), torch.stack((tsdf, torch.ones_like(tsdf)), dim=1))
    cell, part = cells(coords), (coords[:, 1:] % stride).to(tsdf.dtype) / stride
    total = tsdf.new_zeros(len(coords), 2)
    for corner in product((0, 1), repeat=3):
        offset = torch.tensor(corner, device=cell.device)
        weight = torch.where(offset > 0, part, 1 - part).prod(dim=1, keepdim=True)
        total = total + weight * known.lookup(cell + offset)
    return total[:, 0] / total[:, 1].clamp(min=1e-6)


def _projections(batch: FragmentBatch, stride: int, half_pixel: bool) -> Float[Tensor, "b v 3 4"]:
    """World to pixels of features: K [R | t], multiplied in float64."""
    intrinsics = scale_intrinsics(batch.intrinsics.double(), 1 / stride, 1 / stride, half_pixel)
    return (intrinsics @ batch.world_to_cam[..., :3, :].double()).to(batch.origin.dtype)


def _at_voxels(dense: Float[Tensor, "b x y z"], coords: Int32[Tensor, "n 4"], stride: int) -> Float[Tensor, " n"]:
    sample, x, y, z = coords.long().unbind(dim=1)
    return dense[sample, x // stride, y // stride, z // stride]
