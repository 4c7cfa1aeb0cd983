"""The reference image synthesised from the sources by the estimated depth: right depth, right image."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolbox.errors import UserError
from toolbox.registry import LOSSES
from toolbox.structures import DepthPrediction, MultiViewBatch

from .multi_level import MultiLevelLoss
from .photometric import PHOTOMETRIC_ERRORS, weighted_error
from .synthesis import level_views, synthesise_reference

Selection = Literal["top_k", "mean"]


def select_sources(
    errors: Float[Tensor, "b s h w"], valid: Bool[Tensor, "b s h w"], selection: Selection = "top_k", k: int = 2
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """One error per pixel out of those of its sources.

    Args:
        selection: 'top_k' takes the mean of the k lowest (an occluded source errs more and is left out; Godard et al.,
            ICCV 2019, with k = 1); 'mean' takes that of all. Only valid ones are taken: where fewer than k are valid,
            the mean is of fewer.

    Returns:
        The error, 0 where no source is valid, and where at least one is.
    """
    if selection == "top_k":
        impossible = torch.full_like(errors, torch.inf)
        errors, order = torch.where(valid, errors, impossible).topk(min(k, errors.shape[1]), dim=1, largest=False)
        valid = valid.gather(1, order)
    kept = torch.where(valid, errors, torch.zeros_like(errors))
    return kept.sum(dim=1) / valid.sum(dim=1).clamp(min=1), valid.any(dim=1)


def view_synthesis_map(
    images: Float[Tensor, "b v c h w"],
    depth: Float[Tensor, "b h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    world_to_cam: Float[Tensor, "b v 4 4"],
    errors: dict[str, float],
    selection: Selection = "top_k",
    k: int = 2,
    occlusion: float | None = None,
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """Photometric error of the reference synthesised by a depth map, and where any source sees the pixel.

    Args:
        images, intrinsics: on the depth map's grid, view 0 the reference.
        errors: weights by name, see ``PHOTOMETRIC_ERRORS``; their sum is what sources are selected by.
        selection, k: see ``select_sources``.
        occlusion: see ``synthesise_reference``.
    """
    synthesis = synthesise_reference(images, depth, intrinsics, world_to_cam, occlusion)
    return _compared(images[:, :1], *synthesis, errors, selection, k)


def _compared(
    reference: Float[Tensor, "b 1 c h w"],
    warped: Float[Tensor, "b s c h w"],
    valid: Bool[Tensor, "b s h w"],
    errors: dict[str, float],
    selection: Selection,
    k: int,
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    reference = reference.expand_as(warped)
    error, known = weighted_error(warped.flatten(0, 1), reference.flatten(0, 1), valid.flatten(0, 1), errors)
    shape = valid.shape[:2]
    return select_sources(error.unflatten(0, shape), known.unflatten(0, shape), selection, k)


@LOSSES.register_module()
class ViewSynthesisLoss(MultiLevelLoss):
    """Photometric error between the reference and the sources warped into it by the estimated depth.

    Args:
        errors: a name out of 'l1', 'l0.5', 'charbonnier', 'smooth_l1' (colour), 'gradient', 'smooth_l1_gradient',
            'ssim'; or several with their weights, whose sum decides which sources are taken.
        selection, k: see ``select_sources``.
        occlusion: None, or the relative difference of depth beyond which a nearer part of the reference hides a
            farther one from a source (see ``hidden_from_sources``).
        weight, level_weights: see ``MultiLevelLoss``.
    """

    def __init__(
        self,
        errors: str | dict[str, float] = "l1",
        selection: Selection = "top_k",
        k: int = 2,
        occlusion: float | None = None,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = None,
    ):
        super().__init__(weight, level_weights)
        self.errors = {errors: 1.0} if isinstance(errors, str) else dict(errors)
        self.selection, self.k, self.occlusion = selection, k, occlusion
        unknown = [name for name in self.errors if name not in PHOTOMETRIC_ERRORS]
        if unknown or not self.errors:
            raise UserError(
                f"ViewSynthesisLoss(errors={errors!r})",
                f"no photometric error {', '.join(map(repr, unknown)) or 'is named'}",
                f"Choose from {', '.join(PHOTOMETRIC_ERRORS)}",
            )
        if selection not in ("top_k", "mean") or k < 1:
            raise UserError(
                f"ViewSynthesisLoss(selection={selection!r}, k={k})",
                "no such selection of sources",
                "Take selection='top_k' with k of at least 1, or selection='mean'",
            )
        if occlusion is not None and occlusion <= 0:
            raise UserError(
                f"ViewSynthesisLoss(occlusion={occlusion})",
                "is no relative difference of depth",
                "Take a positive one (0.05), or None",
            )

    def level_map(
        self, prediction: DepthPrediction, batch: MultiViewBatch, level: int
    ) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """``view_synthesis_map`` of one level."""
        views = level_views(prediction, batch, level)
        synthesis = views.synthesis(self.occlusion)
        return _compared(views.level_images[:, :1], *synthesis, self.errors, self.selection, self.k)
