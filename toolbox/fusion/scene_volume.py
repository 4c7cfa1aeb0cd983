"""Fragments' signed distances -> one volume of the scene: each fragment substitutes what its window had before."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolbox.errors import UserError
from toolbox.structures import VoxelMap

from .tsdf_volume import TSDFVolume


class SceneVolume:
    """The TSDF of a scene at sparse voxels, fragment by fragment (NeuralRecon, section 3.3: substitution).

    Memory follows the surface, not the volume, until ``dense`` is asked for. All origins are on one grid: they are
    rounded to it.

    Args:
        voxel_size: in metres.
        threshold: voxels with |tsdf| of at least so much are not kept: the published 0.3 for MonoSelfRecon, 1 for
            NeuralRecon.
        published_forgetting: set earlier voxels in a fragment's window that it does not predict to 1, and keep those
            that it predicts beyond the threshold, as the published programs do. Otherwise a voxel keeps what an earlier
            fragment predicted until a later one predicts it anew.
    """

    def __init__(self, voxel_size: float = 0.04, threshold: float = 1.0, published_forgetting: bool = False):
        self.voxel_size, self.threshold = voxel_size, threshold
        self.published_forgetting = published_forgetting
        self.origin: Tensor | None = None
        self.voxels: VoxelMap | None = None

    def substitute(
        self,
        coords: Int[Tensor, "n 3"],
        tsdf: Float[Tensor, " n"],
        origin: Float[Tensor, "3"],
        window: tuple[int, int, int],
    ) -> None:
        """Take in a fragment.

        Args:
            coords: (x, y, z) in voxels from ``origin``, inside of the window.
            tsdf: at these voxels.
            origin: centre of the window's first voxel in the world.
            window: its size in voxels.
        """
        if self.origin is None or self.voxels is None:
            self.origin = origin.double().cpu()
            self.voxels = VoxelMap.empty(tsdf[:, None])
        start = torch.round((origin.double().cpu() - self.origin) / self.voxel_size).long().to(coords.device)
        here = VoxelMap(coords.long() + start, tsdf.detach()[:, None])
        before = self.voxels.select(self.voxels.inside(start, window))
        if self.published_forgetting:
            places = before.joined(self._near_surface(here)).coords
            after = VoxelMap(places, here.lookup(places, default=1.0))
        else:
            after = self._near_surface(before.joined(here))
        self.voxels = self.voxels.substituted(start, window, after)

    def _near_surface(self, voxels: VoxelMap) -> VoxelMap:
        return voxels.select(voxels.feats[:, 0].abs() < self.threshold)

    def __len__(self) -> int:
        return 0 if self.voxels is None else len(self.voxels)

    def dense(self) -> TSDFVolume:
        """The box around all voxels: TSDF, 1 where unknown, and weight 1 where known.

        Raises:
            UserError: no voxel was taken in.
        """
        if self.voxels is None or self.origin is None or not len(self.voxels):
            raise UserError(
                "the scene's volume",
                "has no voxels: no fragment predicted a surface",
                "Train longer, or loosen the sparsifier's threshold",
            )
        coords, values = self.voxels.coords, self.voxels.feats[:, 0]
        low = coords.amin(dim=0)
        shape = tuple((coords.amax(dim=0) - low + 1).tolist())
        index = tuple((coords - low).T)
        tsdf, weight = values.new_ones(shape), values.new_zeros(shape)
        tsdf[index], weight[index] = values, 1.0
        return TSDFVolume(tsdf, weight, self.origin + low.cpu().double() * self.voxel_size, self.voxel_size)
