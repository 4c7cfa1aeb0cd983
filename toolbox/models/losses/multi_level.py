"""What the losses of a depth pyramid share: levels, weights, means over valid pixels."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.geometry import resample_dense
from toolbox.structures import DepthPrediction, MultiViewBatch


class MultiLevelLoss(nn.Module, ABC):
    """weight * sum over the levels of level_weight * mean over the valid pixels of ``level_map``.

    Args:
        weight: of the whole.
        level_weights: finest first, one per level; None weighs every level 1. Levels of weight 0 cost nothing.
    """

    def __init__(self, weight: float = 1.0, level_weights: Sequence[float] | None = None):
        super().__init__()
        self.weight, self.level_weights = weight, level_weights

    @abstractmethod
    def level_map(
        self, prediction: DepthPrediction, batch: MultiViewBatch, level: int
    ) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """The unreduced loss of one level, and where it is valid."""

    def forward(self, prediction: DepthPrediction, batch: MultiViewBatch) -> Float[Tensor, ""]:
        """The weighted scalar; a level without a valid pixel adds 0.

        Raises:
            UserError: there are not as many level weights as levels.
        """
        levels = len(prediction.depths)
        weights = weight_per_level(self, self.level_weights, levels, "a pyramid")
        total = prediction.depths[0].new_zeros(())
        # Positions and differences of colours need more digits than bfloat16 has.
        with torch.autocast(total.device.type, enabled=False):
            for level, weight in enumerate(weights):
                if weight:
                    total = total + weight * masked_mean(*self.level_map(prediction, batch, level))
        return self.weight * total


def weight_per_level(loss: nn.Module, level_weights: Sequence[float] | None, levels: int, of: str) -> Sequence[float]:
    """The weights, 1 each where none are given.

    Args:
        of: what the levels are of, for the error.

    Raises:
        UserError: there are not as many weights as levels.
    """
    if level_weights is None:
        return [1.0] * levels
    if len(level_weights) != levels:
        raise UserError(
            f"{type(loss).__name__}(level_weights={list(level_weights)})",
            f"{len(level_weights)} weights for {of} of {levels} levels",
            "Give one weight per training level, finest first",
        )
    return level_weights


def masked_mean(values: Float[Tensor, "*shape"], valid: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean over the valid ones; 0, with zero gradients, where there is none."""
    kept = torch.where(valid, values, torch.zeros_like(values))
    return kept.sum() / valid.sum().clamp(min=1)


def images_at_level(
    images: Float[Tensor, "b v c h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    level_intrinsics: Float[Tensor, "b v 3 3"],
    size: tuple[int, int],
) -> Float[Tensor, "b v c hl wl"]:
    """The images on the grid of a pyramid level.

    Every pixel is the mean of the area that a level's pixel covers (s x s image pixels), centred where the level's
    intrinsics say: the plain mean of s x s blocks for a half-pixel pyramid, a symmetric filter around pixels 0, s,
    2 s ... for strided features. Beyond the edges the image continues with its edge pixels.

    Args:
        size: (height, width) of the level.
    """
    if images.shape[-2:] == size:
        return images
    ratios = intrinsics[0, 0].diagonal() / level_intrinsics[0, 0].diagonal()
    box_w, box_h = (max(1, round(ratio)) for ratio in ratios[:2].tolist())
    padded = F.pad(images.flatten(0, 1), (box_w - 1, box_w - 1, box_h - 1, box_h - 1), mode="replicate")
    means = F.avg_pool2d(padded, (box_h, box_w), stride=1)
    # The mean of image pixels x - (s - 1) ... x stands at x - (s - 1) / 2.
    of_means = intrinsics.clone()
    of_means[..., 0, 2] += (box_w - 1) / 2
    of_means[..., 1, 2] += (box_h - 1) / 2

    def per_channel(matrices: Float[Tensor, "b v 3 3"]) -> Float[Tensor, "n 3 3"]:
        return matrices.flatten(0, 1).repeat_interleave(images.shape[2], dim=0)

    resized = resample_dense(means.flatten(0, 1), per_channel(of_means), per_channel(level_intrinsics), size)
    return resized.reshape(*images.shape[:3], *size)
