"""A number for each voxel."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.registry import HEADS


class _VoxelHead(nn.Module):
    """A linear layer for each level, finest first."""

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(c, 1) for c in channels)

    def forward(self, feats: Float[Tensor, "n c"], level: int) -> Float[Tensor, " n"]:
        """A number for each row of features of a level, in the weights' own precision also under autocast.

        Losses move voxels by it, in the precision it has: half of that would put them pixels off.
        """
        layer = self.layers[level]
        with torch.autocast(feats.device.type, enabled=False):
            return layer(feats.to(layer.weight.dtype))[:, 0]


@HEADS.register_module()
class TSDFHead(_VoxelHead):
    """Signed distances, not clamped.

    Args:
        channels: of every level's features, finest first.
    """


@HEADS.register_module()
class OccupancyHead(_VoxelHead):
    """Logits of being near a surface.

    Args:
        channels: of every level's features, finest first.
    """
