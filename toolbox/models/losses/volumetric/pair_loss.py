"""Losses over pairs of views: the views of each level and sample, the pairs, the maps."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import scale_intrinsics
from toolbox.models.losses.multi_level import images_at_level
from toolbox.structures import FragmentBatch, VolumetricPrediction

from .level_loss import PUBLISHED_LEVEL_WEIGHTS, VolumetricLoss
from .view_pairs import ViewPairs

ErrorMap = tuple[Float[Tensor, "p n"], Bool[Tensor, "p n"]]


@dataclass
class LevelViews:
    """The views that one sample's pairs are made of, at the resolution of one level.

    Attributes:
        segments: superpixels of each view, or None.
    """

    images: Float[Tensor, "v 3 h w"]
    intrinsics: Float[Tensor, "v 3 3"]
    world_to_cam: Float[Tensor, "v 4 4"]
    segments: Int64[Tensor, "v h w"] | None


def level_views(
    batches: Sequence[FragmentBatch],
    sample: int,
    level: int,
    chosen: Int64[Tensor, " v"],
    published_sampling: bool = False,
) -> LevelViews:
    """Some views of one sample at 1 / 2^level of their resolution.

    Args:
        batches: one after the other, as the views are numbered.
        chosen: numbers of the views.
        published_sampling: bilinear resize, and a principal point without half-pixel shift.
    """

    def of_views(parts: Sequence[Tensor]) -> Tensor:
        joined = torch.cat([part[sample] for part in parts])
        return joined[chosen.to(joined.device)]

    images = of_views([batch.images for batch in batches])
    dtype = images.dtype
    intrinsics = of_views([batch.intrinsics for batch in batches]).to(dtype)
    size = (images.shape[-2] >> level, images.shape[-1] >> level)
    scaled = scale_intrinsics(intrinsics, 0.5**level, 0.5**level, half_pixel=not published_sampling)
    if published_sampling:
        images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    else:
        images = images_at_level(images[None], intrinsics[None], scaled[None], size)[0]
    poses = of_views([batch.world_to_cam for batch in batches]).to(dtype)
    segments = [batch.segments[level] for batch in batches if batch.segments is not None]
    return LevelViews(images, scaled, poses, of_views(segments) if len(segments) == len(batches) else None)


class PairLoss(VolumetricLoss):
    """A loss over pairs of views of the voxels' surface points.

    Args:
        weight, level_weights: see ``VolumetricLoss``.
        pairs: settings of ``ViewPairs``.
        min_depth: of surface points in their camera, in metres.
        sdf_scale: metres per unit of the network's output: 1 where self-supervision alone taught it; the truncation
            distance where it learned from TSDF truth and is to mean metres here.
        published_sampling: see the losses.
    """

    def __init__(
        self,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = PUBLISHED_LEVEL_WEIGHTS,
        pairs: dict[str, Any] | None = None,
        min_depth: float = 0.3,
        sdf_scale: float = 1.0,
        published_sampling: bool = False,
    ):
        super().__init__(weight, level_weights)
        if sdf_scale <= 0:
            raise UserError(f"{type(self).__name__}(sdf_scale={sdf_scale})", "is no length", "Take a positive one")
        self.pairs = ViewPairs(**(pairs or {}))
        self.min_depth, self.sdf_scale, self.published_sampling = min_depth, sdf_scale, published_sampling

    @abstractmethod
    def pair_map(
        self,
        sdf: Float[Tensor, " n"],
        positions: Float[Tensor, "n 3"],
        views: LevelViews,
        pairs: Int64[Tensor, "p 2"],
        min_depth: Float[Tensor, " p"],
        level: int,
    ) -> ErrorMap:
        """The unreduced loss of one sample, and where it is valid."""

    @abstractmethod
    def reduce(self, maps: list[ErrorMap]) -> Float[Tensor, ""]:
        """One number out of the maps of all samples."""

    def level_loss(self, prediction: VolumetricPrediction, batch: FragmentBatch, level: int) -> Float[Tensor, ""]:
        """Over the supervised voxels of one level."""
        return self.reduce([self.sample_map(prediction, batch, level, sample) for sample in range(len(batch.images))])

    def sample_map(self, prediction: VolumetricPrediction, batch: FragmentBatch, level: int, sample: int) -> ErrorMap:
        """``pair_map`` of one sample and level."""
        volume = prediction.levels[level]
        of_sample = volume.coords[:, 0] == sample
        rows = of_sample if volume.supervised is None else of_sample & volume.supervised
        volume = volume.select(rows)
        memory = prediction.previous if volume.with_previous else None
        pairs = self.pairs.select(batch.images.shape[1], 0 if memory is None else memory.images.shape[1])
        used, numbers = pairs.unique(return_inverse=True)
        batches = [batch] if memory is None else [memory, batch]
        views = level_views(batches, sample, level, used, self.published_sampling)
        sdf = volume.tsdf * self.sdf_scale
        pairs = numbers.reshape(-1, 2).to(sdf.device)
        min_depth = sdf.new_full((len(pairs),), self.min_depth)
        if self.published_sampling:
            pairs = torch.cat((pairs, pairs.flip(1)))
            min_depth = torch.cat((min_depth, torch.full_like(min_depth, -torch.inf)))
        return self.pair_map(sdf, volume.positions().to(sdf.dtype), views, pairs, min_depth, level)
