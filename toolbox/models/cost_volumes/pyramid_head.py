"""Depth by a cost-volume pyramid: planes at the coarsest level, residual hypotheses at every finer one."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from toolbox.geometry import PlaneSweep, upsample_depth
from toolbox.models.strips import empty_like_rows, inner_rows, sampled_strips
from toolbox.registry import COST_VOLUMES
from toolbox.structures import DepthPrediction

from .level import LevelGeometry, level_intrinsics
from .tiling import Area, tiles, whole
from .warper import SweptSources

Config = dict[str, Any]
# Features of one view: (B, C, h, w) of each level, finest first.
ViewFeatures = list[Tensor]


@COST_VOLUMES.register_module()
class CostVolumePyramid(nn.Module):
    """CVP-MVSNet's head (Yang et al., CVPR 2020); with one level, MVSNet's.

    Args:
        feature_channels: of the backbone.
        coarse_hypotheses: sampler of the coarsest level.
        fine_hypotheses: sampler of every finer level.
        train_fine_hypotheses: another one for training; None is the same.
        aggregator, regularizer, regression, confidence, warper: the other parts, shared by all levels.
        published_intrinsics: scale the intrinsics to the levels as the published CVP-MVSNet does (no half-pixel shift).
        checkpoint_volumes: in training, keep no sampled source features for the backward pass but sample again, strip
            by strip: less memory, which then hardly depends on the number of sources, for more time.
    """

    def __init__(
        self,
        feature_channels: int,
        coarse_hypotheses: Config,
        regularizer: Config,
        fine_hypotheses: Config | None = None,
        train_fine_hypotheses: Config | None = None,
        aggregator: Config | None = None,
        regression: Config | None = None,
        confidence: Config | None = None,
        warper: Config | None = None,
        published_intrinsics: bool = False,
        checkpoint_volumes: bool = False,
    ):
        super().__init__()
        build = COST_VOLUMES.build
        self.coarse_hypotheses = build(coarse_hypotheses)
        self.fine_hypotheses = build(fine_hypotheses or {"type": "PixelInterval"})
        self.train_fine_hypotheses = build(train_fine_hypotheses) if train_fine_hypotheses else None
        self.aggregator = build(aggregator or {"type": "Variance"})
        volume_channels = self.aggregator.out_channels(feature_channels)
        self.regularizer = build({**regularizer, "in_channels": volume_channels})
        self.regression = build(regression or {"type": "SoftArgmin"})
        self.confidence = build(confidence or {"type": "WindowConfidence"})
        self.warper = build(warper or {"type": "PlaneSweepWarper"})
        self.published_intrinsics = published_intrinsics
        self.checkpoint_volumes = checkpoint_volumes

    @property
    def size_divisor(self) -> int:
        """Height and width of the coarsest level must be divisible by it."""
        return self.regularizer.size_divisor

    def forward(
        self,
        features: list[ViewFeatures],
        intrinsics: Float[Tensor, "b v 3 3"],
        world_to_cam: Float[Tensor, "b v 4 4"],
        depth_range: Float[Tensor, "b 2"],
        image_size: tuple[int, int],
        half_pixel: bool = True,
        keep_details: bool = False,
        tile_size: int | None = None,
        consume: bool = False,
    ) -> DepthPrediction:
        """Depth of the reference (view 0), from the coarsest level to the finest.

        Args:
            features: of each view, reference first.
            intrinsics: of the images.
            image_size: (height, width) of the images.
            half_pixel: the backbone's alignment.
            keep_details: keep the finest probabilities and all hypotheses in the prediction.
            tile_size: in inference, cost volumes are built and filtered in overlapping tiles of so many pixels a side,
                at most; None does the whole level at once. The result is the same but for rounding, unless the
                regularizer normalises by statistics of the volume at hand ('group').
            consume: take the features out of the lists, so that nothing else keeps those that are not needed any more.

        Returns:
            Depths on the levels' grids; the confidence on the finest level's.
        """
        depths, all_intrinsics, all_hypotheses = [], [], []
        probabilities = None
        remaining = features if consume else [list(view) for view in features]
        while remaining[0]:
            level_features = [view.pop() for view in remaining]
            size = tuple(level_features[0].shape[-2:])
            scaled = level_intrinsics(intrinsics, image_size, size, half_pixel, self.published_intrinsics)
            geometry = LevelGeometry(scaled, world_to_cam, depth_range, size)
            hypotheses = self._hypotheses(geometry, depths[-1] if depths else None, half_pixel)
            probabilities = self._probabilities(level_features, hypotheses, geometry, tile_size)
            depths.append(self.regression(probabilities, hypotheses))
            all_intrinsics.append(scaled)
            if keep_details:
                all_hypotheses.append(hypotheses)
        return DepthPrediction(
            depths[::-1],
            all_intrinsics[::-1],
            self.confidence(probabilities),
            probabilities if keep_details else None,
            all_hypotheses[::-1] if keep_details else None,
        )

    def _hypotheses(
        self, geometry: LevelGeometry, coarser: Float[Tensor, "b hc wc"] | None, half_pixel: bool
    ) -> Float[Tensor, "b d h w"]:
        if coarser is None:
            return self.coarse_hypotheses(geometry)
        fixed = self.training and self.train_fine_hypotheses is not None
        sampler = self.train_fine_hypotheses if fixed else self.fine_hypotheses
        with torch.autocast(coarser.device.type, enabled=False):
            return sampler(geometry, upsample_depth(coarser, geometry.size, half_pixel=half_pixel))

    def _probabilities(
        self,
        level_features: list[Float[Tensor, "b c h w"]],
        hypotheses: Float[Tensor, "b d h w"],
        geometry: LevelGeometry,
        tile_size: int | None,
    ) -> Float[Tensor, "b d h w"]:
        """Empties the list of features: a source is not needed once there is its sweep."""

        def sweeps() -> list[PlaneSweep]:
            return self._sweeps(sources, hypotheses.dtype, geometry)

        reference, *sources = level_features
        level_features.clear()
        if tile_size is None or max(geometry.size) <= tile_size or torch.is_grad_enabled():
            return self._filtered(reference, sweeps, hypotheses, whole(geometry.size))
        made = sweeps()
        probabilities = torch.empty(hypotheses.shape, dtype=hypotheses.dtype, device=hypotheses.device)
        for tile in tiles(geometry.size, tile_size, self.regularizer.reach, self.regularizer.size_divisor):
            part = self._filtered(reference, lambda: made, hypotheses, tile.area)
            probabilities[(..., *tile.core)] = part[(..., *tile.core_in_area)]
        return probabilities

    def _filtered(
        self,
        reference: Float[Tensor, "b c h w"],
        sweeps: Callable[[], list[PlaneSweep]],
        hypotheses: Float[Tensor, "b d h w"],
        area: Area,
    ) -> Float[Tensor, "b d hs ws"]:
        """Probabilities of a part of the level."""
        if torch.is_grad_enabled() or not hasattr(self.regularizer, "enter"):
            scores = self.regularizer(self._volume(reference, sweeps(), hypotheses, area))
        else:
            scores = self.regularizer.finish(self._entered(reference, sweeps(), hypotheses, area))
        return torch.softmax(scores, dim=1, dtype=hypotheses.dtype)

    def _entered(
        self,
        reference: Float[Tensor, "b c h w"],
        sweeps: list[PlaneSweep],
        hypotheses: Float[Tensor, "b d h w"],
        area: Area,
    ) -> Float[Tensor, "b k d hs ws"]:
        """What the regularizer's first blocks make of the cost volume, which is never there as a whole."""
        top, size = area[0].start, tuple(hypotheses[(..., *area)].shape)

        def part(rows: slice) -> Float[Tensor, "b k d _ ws"]:
            shifted = slice(rows.start + top, rows.stop + top)
            return self._volume(reference, sweeps, hypotheses, (shifted, area[1]))

        return self.regularizer.enter(part, size)

    def _sweeps(
        self, sources: list[Float[Tensor, "b c h w"]], dtype: torch.dtype, geometry: LevelGeometry
    ) -> list[PlaneSweep]:
        """Takes the sources out of their list."""
        with torch.autocast(sources[0].device.type, enabled=False):
            views = range(1, len(sources) + 1)
            return [self.warper.sweep(sources.pop(0), geometry, view, dtype) for view in views]

    def _volume(
        self,
        reference: Float[Tensor, "b c h w"],
        sweeps: list[PlaneSweep],
        hypotheses: Float[Tensor, "b d h w"],
        area: Area,
    ) -> Float[Tensor, "b k d hs ws"]:
        """The cost volume of a part of the level. In inference it is built in strips, which stay in the cache."""
        learns = torch.is_grad_enabled()
        dtype = reference.dtype if learns else hypotheses.dtype

        def part(rows: slice) -> Float[Tensor, "b k d _ ws"]:
            at = (..., rows, area[1])
            planes, corner = hypotheses[at].detach(), (rows.start, area[1].start)
            swept = SweptSources(sweeps, planes, corner, dtype, self.aggregator.needs_valid)
            return self.aggregator(reference[at].to(dtype), swept)

        with torch.autocast(reference.device.type, enabled=False):
            batch, planes = hypotheses.shape[:2]
            width = area[1].stop - area[1].start
            strips = sampled_strips(area[0], batch * planes * width * reference.shape[1], reference.device)
            if learns and self.checkpoint_volumes:
                recomputed = {"use_reentrant": False, "preserve_rng_state": False}
                return torch.cat([checkpoint(part, rows, **recomputed) for rows in strips], dim=3)
            if learns:
                return part(area[0])
            volume = None
            for rows in strips:
                filled = part(rows)
                if volume is None:
                    volume = empty_like_rows(filled.to(reference.dtype), area[0].stop - area[0].start)
                inner_rows(volume, rows, area[0]).copy_(filled)
        return volume
