"""Depth by a cost-volume pyramid: planes at the coarsest level, residual hypotheses at every finer one."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.geometry import upsample_depth
from toolbox.registry import COST_VOLUMES
from toolbox.structures import DepthPrediction

from .level import LevelGeometry, level_intrinsics

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
    ) -> DepthPrediction:
        """Depth of the reference (view 0), from the coarsest level to the finest.

        Args:
            features: of each view, reference first.
            intrinsics: of the images.
            image_size: (height, width) of the images.
            half_pixel: the backbone's alignment.
            keep_details: keep the finest probabilities and all hypotheses in the prediction.

        Returns:
            Depths on the levels' grids; the confidence on the finest level's.
        """
        depths, all_intrinsics, all_hypotheses = [], [], []
        probabilities = None
        for level in reversed(range(len(features[0]))):
            size = tuple(features[0][level].shape[-2:])
            scaled = level_intrinsics(intrinsics, image_size, size, half_pixel, self.published_intrinsics)
            geometry = LevelGeometry(scaled, world_to_cam, depth_range, size)
            hypotheses = self._hypotheses(geometry, depths[-1] if depths else None, half_pixel)
            probabilities = self._probabilities([view[level] for view in features], hypotheses, geometry)
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
    ) -> Float[Tensor, "b d h w"]:
        warped = (
            self.warper(source, hypotheses, geometry, view) for view, source in enumerate(level_features[1:], start=1)
        )
        volume = self.aggregator(level_features[0], warped)
        return torch.softmax(self.regularizer(volume), dim=1, dtype=hypotheses.dtype)
