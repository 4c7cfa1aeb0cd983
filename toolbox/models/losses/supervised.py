"""Depth against known depth: ground truth, or pseudo depth."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import resample_depth
from toolbox.registry import LOSSES
from toolbox.structures import DepthPrediction, MultiViewBatch

from .multi_level import MultiLevelLoss


def depth_error_map(
    depth: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"], beta: float = 1.0, min_depth: float = 0.0
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """Smooth L1 of each pixel, and where the target is known (strictly above ``min_depth``).

    Args:
        depth, target: in the same unit.
        beta: error at which the quadratic part meets the linear one, in that unit.
    """
    return F.smooth_l1_loss(depth, target, beta=beta, reduction="none"), target > min_depth


@LOSSES.register_module()
class SupervisedDepthLoss(MultiLevelLoss):
    """Multi-scale smooth L1 on known depth (CVP-MVSNet, section 3.4).

    Args:
        weight, level_weights: see ``MultiLevelLoss``.
        beta: see ``depth_error_map``, in the unit that ``planes`` decides.
        planes: None measures errors in the scene's unit (the paper: mm); a number measures them in steps of the depth
            range cut into that many planes, so that one setting fits scenes of any unit and size.
        min_depth: target depths up to it are unknown (the published code: 425 mm).
        published_pyramid: make the coarser targets as the published CVP-MVSNet does: an antialiased bicubic
            resize (Pillow's), unknown zeros mixed in.
    """

    def __init__(
        self,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = None,
        beta: float = 1.0,
        planes: int | None = None,
        min_depth: float = 0.0,
        published_pyramid: bool = False,
    ):
        super().__init__(weight, level_weights)
        self.beta, self.planes, self.min_depth = beta, planes, min_depth
        self.published_pyramid = published_pyramid

    def level_map(
        self, prediction: DepthPrediction, batch: MultiViewBatch, level: int
    ) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """``depth_error_map`` of one level.

        Raises:
            UserError: the batch has no depth.
        """
        if batch.depth is None:
            raise UserError(
                "SupervisedDepthLoss", "the batch has no depth", "Train on a data set with depth, or use other losses"
            )
        target, unit = self._target(prediction, batch, level), self._unit(batch)
        error, known = depth_error_map(prediction.depths[level] / unit, target / unit, self.beta)
        return error, known & (target > self.min_depth)

    def _unit(self, batch: MultiViewBatch) -> Float[Tensor, "b 1 1"] | float:
        if self.planes is None:
            return 1.0
        return ((batch.depth_range[:, 1] - batch.depth_range[:, 0]) / self.planes)[:, None, None]

    def _target(self, prediction: DepthPrediction, batch: MultiViewBatch, level: int) -> Float[Tensor, "b h w"]:
        size = tuple(prediction.depths[level].shape[-2:])
        if self.published_pyramid:
            resized = F.interpolate(
                batch.depth[:, None], size=size, mode="bicubic", align_corners=False, antialias=True
            )
            return resized[:, 0]
        with torch.no_grad():
            return resample_depth(
                batch.depth, batch.intrinsics[:, 0], prediction.intrinsics[level][:, 0], size, mode="bilinear"
            )
