"""Which voxels go on to the next finer level."""

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.registry import NECKS


@NECKS.register_module()
class TSDFBand(nn.Module):
    """Voxels near the predicted surface: |tsdf| < threshold (MonoSelfRecon without known depth).

    Args:
        threshold: in the unit of the TSDF head.
    """

    def __init__(self, threshold: float = 0.3):
        super().__init__()
        self.threshold = threshold

    def forward(self, tsdf: Float[Tensor, " n"], occupancy: Float[Tensor, " n"] | None) -> Bool[Tensor, " n"]:
        """Which voxels stay."""
        return tsdf.abs() < self.threshold


@NECKS.register_module()
class OccupancyThreshold(nn.Module):
    """Voxels that are likely near a surface: occupancy > threshold (NeuralRecon, and MonoSelfRecon with known depth).

    Args:
        threshold: a logit; 0 is a probability of one half.
    """

    def __init__(self, threshold: float = 0.0):
        super().__init__()
        self.threshold = threshold

    def forward(self, tsdf: Float[Tensor, " n"], occupancy: Float[Tensor, " n"] | None) -> Bool[Tensor, " n"]:
        """Which voxels stay.

        Raises:
            UserError: the network has no occupancy head.
        """
        if occupancy is None:
            raise UserError(
                "OccupancyThreshold", "the network has no occupancy head", "Add heads.occupancy, or use TSDFBand"
            )
        return occupancy > self.threshold


def cap_per_sample(kept: Bool[Tensor, " n"], coords: Int32[Tensor, "n 4"], largest: int) -> Bool[Tensor, " n"]:
    """At most ``largest`` of the kept voxels of each sample, chosen at random."""
    capped = kept.clone()
    for sample in torch.unique(coords[kept, 0]).tolist():
        own = (kept & (coords[:, 0] == sample)).nonzero()[:, 0]
        if len(own) > largest:
            order = torch.randperm(len(own), device=own.device)
            capped[own[order[largest:]]] = False
    return capped
