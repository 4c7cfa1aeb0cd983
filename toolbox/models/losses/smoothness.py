"""Depth changes where the image does: edge-aware smoothness of first and second order."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from toolbox.errors import UserError
from toolbox.registry import LOSSES
from toolbox.structures import DepthPrediction, MultiViewBatch

from .multi_level import MultiLevelLoss
from .synthesis import level_views


def smoothness_map(
    values: Float[Tensor, "b h w"], image: Float[Tensor, "b c h w"], order: int = 1, edge_sharpness: float = 1.0
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """|Dx v| exp(-a |Dx I|) + |Dy v| exp(-a |Dy I|), D a difference of first or second order.

    |D I| is a mean over the colours. First order: Godard et al. (CVPR 2017); second order, with the image's
    differences of second order: M3VSNet (Huang et al., 2021). Inverse depth of a plane is linear in the image: its
    second order vanishes there, its first does not.

    Args:
        values: what is to be smooth.
        order: 1 (forward differences) or 2 (central differences).
        edge_sharpness: a, for colours in [0, 1]; 0 ignores the image.

    Returns:
        The map, and where it is valid: all neighbours are inside the image.
    """
    if order not in (1, 2):
        raise ValueError(f"order is 1 or 2, not {order}")
    total = torch.zeros_like(values)
    for dim in (-1, -2):
        weight = torch.exp(-edge_sharpness * image.diff(n=order, dim=dim).abs().mean(dim=1))
        total = total + _padded(values.diff(n=order, dim=dim).abs() * weight, dim, order)
    inside = torch.ones_like(values[..., order:, order:], dtype=torch.bool)
    return total, _padded(_padded(inside, -1, order), -2, order)


def _padded(differences: Tensor, dim: int, order: int) -> Tensor:
    """Differences along an axis on the grid they were taken of."""
    pads = (order // 2, order - order // 2)
    return F.pad(differences, pads if dim == -1 else (0, 0, *pads))


def normalised_inverse_depth(depth: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Inverse depth over its mean: the same in any unit, and not smaller the farther all is.

    Wang et al.: Learning depth from monocular videos using direct methods (CVPR 2018).
    """
    inverse = 1 / depth
    return inverse / inverse.mean(dim=(-2, -1), keepdim=True)


@LOSSES.register_module()
class DepthSmoothnessLoss(MultiLevelLoss):
    """Edge-aware smoothness of the estimated depth, of first or second order.

    Args:
        order, edge_sharpness: see ``smoothness_map``.
        planes: None takes inverse depth over its mean; a number takes depth in steps of the depth range cut into that
            many planes, as ``SupervisedDepthLoss`` does.
        weight, level_weights: see ``MultiLevelLoss``.
    """

    def __init__(
        self,
        order: int = 1,
        edge_sharpness: float = 1.0,
        planes: int | None = None,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = None,
    ):
        super().__init__(weight, level_weights)
        if order not in (1, 2):
            raise UserError(f"DepthSmoothnessLoss(order={order})", "the order is 1 or 2", "Choose one of them")
        self.order, self.edge_sharpness, self.planes = order, edge_sharpness, planes

    def level_map(
        self, prediction: DepthPrediction, batch: MultiViewBatch, level: int
    ) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """``smoothness_map`` of one level."""
        image = level_views(prediction, batch, level).level_images[:, 0]
        values = self._values(prediction.depths[level], batch.depth_range)
        return smoothness_map(values, image, self.order, self.edge_sharpness)

    def _values(self, depth: Float[Tensor, "b h w"], depth_range: Float[Tensor, "b 2"]) -> Float[Tensor, "b h w"]:
        if self.planes is None:
            return normalised_inverse_depth(depth)
        return depth * (self.planes / (depth_range[:, 1] - depth_range[:, 0]))[:, None, None]
