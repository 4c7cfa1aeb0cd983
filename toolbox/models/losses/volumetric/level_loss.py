"""What the losses of a coarse-to-fine volume share: levels and weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.models.losses.multi_level import weight_per_level
from toolbox.structures import FragmentBatch, VolumetricPrediction

PUBLISHED_LEVEL_WEIGHTS = (0.26, 0.33, 0.41)


class VolumetricLoss(nn.Module, ABC):
    """weight * sum over the levels of level_weight * ``level_loss``.

    Args:
        weight: of the whole.
        level_weights: finest first, one per level; None weighs every level 1. Levels of weight 0 cost nothing.
    """

    def __init__(self, weight: float = 1.0, level_weights: Sequence[float] | None = PUBLISHED_LEVEL_WEIGHTS):
        super().__init__()
        self.weight, self.level_weights = weight, level_weights

    @abstractmethod
    def level_loss(self, prediction: VolumetricPrediction, batch: FragmentBatch, level: int) -> Float[Tensor, ""]:
        """The reduced loss of one level (0 is the finest); 0 if nothing is valid."""

    def forward(self, prediction: VolumetricPrediction, batch: FragmentBatch) -> Float[Tensor, ""]:
        """The weighted scalar.

        Raises:
            UserError: there are not as many level weights as levels.
        """
        levels = len(prediction.levels)
        weights = weight_per_level(self, self.level_weights, levels, "a volume")
        # Tied to the network even if nothing is valid: every parameter gets a gradient on every rank.
        total = sum(level.tsdf.sum() * 0 for level in prediction.levels)
        with torch.autocast(total.device.type, enabled=False):
            for level, weight in enumerate(weights):
                if weight and len(prediction.levels[level]):
                    total = total + weight * self.level_loss(prediction, batch, level)
        return self.weight * total
