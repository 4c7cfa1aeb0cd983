"""Depth should not change with the exposure, nor where something else is covered: consistency over augmentations."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from mmengine.logging import MessageHub
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import resample_dense
from toolbox.registry import LOSSES
from toolbox.structures import DepthPrediction, MultiViewBatch

from .supervised import SupervisedDepthLoss


def jittered_colours(
    images: Float[Tensor, "b v 3 h w"], gamma: float, contrast: float, brightness: float, balance: float
) -> Float[Tensor, "b v 3 h w"]:
    """Each view's colours changed at random on its own; arguments as in the transform ``ColourJitter``.

    Random numbers come from torch's global generator on the CPU: the same ones for any device.

    Args:
        images: in [0, 1]; so is the result.
        gamma: exponents are drawn from exp(+-gamma).
        contrast: factors around the mean are drawn from exp(+-contrast).
        brightness: offsets are drawn from +-brightness.
        balance: factors per channel are drawn from exp(+-balance).
    """

    def draw(extent: float, channels: int = 1) -> Tensor:
        return ((torch.rand(*images.shape[:2], channels, 1, 1) * 2 - 1) * extent).to(images)

    images = images ** draw(gamma).exp() * draw(balance, channels=3).exp()
    mean = images.mean(dim=(-3, -2, -1), keepdim=True)
    return ((images - mean) * draw(contrast).exp() + mean + draw(brightness)).clamp(0, 1)


def random_patches(batch: int, size: tuple[int, int], number: int, extent: float) -> Bool[Tensor, "b h w"]:
    """True inside ``number`` rectangles per sample, at random places of an image of ``size`` (height, width).

    Args:
        extent: of a rectangle's sides, as a share of the image's.
    """

    def spans(length: int) -> Bool[Tensor, "b n _"]:
        span = round(extent * length)
        start = (torch.rand(batch, number, 1) * (length - span + 1)).floor()
        position = torch.arange(length)
        return (position >= start) & (position < start + span)

    rows, columns = spans(size[0]), spans(size[1])
    return (rows[..., None] & columns[..., None, :]).any(dim=1)


@torch.no_grad()
def confident_depth(
    prediction: DepthPrediction, batch: MultiViewBatch, min_confidence: float
) -> Float[Tensor, "b h w"]:
    """The finest depth on the image's grid where its confidence is above ``min_confidence``, else 0; detached."""
    depth = prediction.depths[0]
    size = tuple(batch.images.shape[-2:])
    if depth.shape[-2:] != size:
        depth = resample_dense(depth, prediction.intrinsics[0][:, 0], batch.intrinsics[:, 0], size)
    return depth.detach() * (prediction.confidence > min_confidence)


@LOSSES.register_module()
class AugmentationConsistencyLoss(SupervisedDepthLoss):
    """Data-augmentation consistency of JDACS (Xu et al., AAAI 2021): two passes of the network.

    The first pass's confident depth is the pseudo label (detached) of a second pass, over the same views with other
    colours each, and patches of the reference blackened. What lies in the patches does not count. The map is
    ``depth_error_map`` against ``confident_depth``.

    The second pass costs as much as the first one, and its normalisation statistics, where the network has any, count
    like the first one's.

    Args:
        min_confidence: above it, the clean depth is a label.
        planes, beta: see ``SupervisedDepthLoss``: errors in steps of the depth range cut into that many planes.
        gamma, contrast, brightness, balance: see ``jittered_colours``.
        patches, patch_extent: number of patches, and their sides as a share of the image's (JDACS: 1 of 1/3).
        ramp_iters: the weight grows from 0 to its full value over the first so many training iterations.
        weight, level_weights: see ``MultiLevelLoss``.
    """

    needs_predictor = True

    def __init__(
        self,
        min_confidence: float = 0.8,
        planes: int | None = 128,
        beta: float = 1.0,
        gamma: float = 0.7,
        contrast: float = 0.4,
        brightness: float = 0.2,
        balance: float = 0.2,
        patches: int = 1,
        patch_extent: float = 1 / 3,
        ramp_iters: int = 0,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = None,
    ):
        super().__init__(weight, level_weights, beta, planes)
        if not 0 <= min_confidence < 1 or not 0 <= patch_extent <= 1:
            raise UserError(
                f"AugmentationConsistencyLoss(min_confidence={min_confidence}, patch_extent={patch_extent})",
                "the confidence lies in [0, 1), the patches' extent in [0, 1]",
                "Choose values in these ranges",
            )
        self.min_confidence, self.ramp_iters = min_confidence, ramp_iters
        self.colours = {"gamma": gamma, "contrast": contrast, "brightness": brightness, "balance": balance}
        self.patches, self.patch_extent = patches, patch_extent

    def forward(
        self,
        prediction: DepthPrediction,
        batch: MultiViewBatch,
        predict: Callable[[MultiViewBatch], DepthPrediction],
    ) -> Float[Tensor, ""]:
        """The weighted scalar.

        Args:
            prediction: of ``batch`` as it is.
            predict: the network.
        """
        augmented, covered = self.augment(batch)
        label = confident_depth(prediction, batch, self.min_confidence) * ~covered
        return self._ramp() * super().forward(predict(augmented), replace(batch, depth=label))

    @torch.no_grad()
    def augment(self, batch: MultiViewBatch) -> tuple[MultiViewBatch, Bool[Tensor, "b h w"]]:
        """The same views with other colours, the reference's patches black; and where these are."""
        images = jittered_colours(batch.images, **self.colours)
        size = tuple(images.shape[-2:])
        covered = random_patches(len(images), size, self.patches, self.patch_extent).to(images.device)
        images[:, 0] *= ~covered[:, None]
        return replace(batch, images=images), covered

    def _ramp(self) -> float:
        """The weight's share at the runner's present iteration, which resuming restores."""
        if not self.ramp_iters:
            return 1.0
        return min(1.0, MessageHub.get_current_instance().get_info("iter", 0) / self.ramp_iters)
