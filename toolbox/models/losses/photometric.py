"""How much a synthesised image differs from the real one, a pixel at a time."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

ErrorMap = tuple[Float[Tensor, "n h w"], Bool[Tensor, "n h w"]]
PhotometricError = Callable[[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"], Bool[Tensor, "n h w"]], ErrorMap]

# A quarter of a grey level of 8 bits: below it, errors are quadratic.
_SOFTENING = 1e-3
_SSIM_WINDOW = 3


def colour_error(
    image: Float[Tensor, "n c h w"], target: Float[Tensor, "n c h w"], valid: Bool[Tensor, "n h w"]
) -> ErrorMap:
    """L1: mean over the channels of |I - I'|."""
    return (image - target).abs().mean(dim=1), valid


def charbonnier_error(
    image: Float[Tensor, "n c h w"],
    target: Float[Tensor, "n c h w"],
    valid: Bool[Tensor, "n h w"],
    exponent: float = 1.0,
) -> ErrorMap:
    """Generalised Charbonnier: mean over the channels of ((I - I')^2 + eps^2)^(exponent / 2) - eps^exponent.

    Exponent 1 is Charbonnier's penalty, 0.5 the robust L0.5 of CL-MVSNet (Xiong et al., ICCV 2023), its slope at 0
    made finite. Sun, Roth, Black: Secrets of optical flow estimation (CVPR 2010).
    """
    squared = (image - target).square() + _SOFTENING**2
    return (squared.pow(exponent / 2) - _SOFTENING**exponent).mean(dim=1), valid


def robust_colour_error(
    image: Float[Tensor, "n c h w"], target: Float[Tensor, "n c h w"], valid: Bool[Tensor, "n h w"]
) -> ErrorMap:
    """Robust L0.5: ``charbonnier_error`` with exponent 0.5."""
    return charbonnier_error(image, target, valid, exponent=0.5)


def smooth_colour_error(
    image: Float[Tensor, "n c h w"], target: Float[Tensor, "n c h w"], valid: Bool[Tensor, "n h w"]
) -> ErrorMap:
    """Smooth L1, mean over the channels (JDACS-MS; Xu et al., AAAI 2021).

    Its linear part begins at a difference of 1: of colours in [0, 1] it is half the square.
    """
    return F.smooth_l1_loss(image, target, reduction="none").mean(dim=1), valid


def gradient_error(
    image: Float[Tensor, "n c h w"],
    target: Float[Tensor, "n c h w"],
    valid: Bool[Tensor, "n h w"],
    penalty: Callable[[Tensor], Tensor] = torch.abs,
) -> ErrorMap:
    """Mean over the channels of |dx I - dx I'| + |dy I - dy I'|, forward differences.

    Valid where the pixel, its right and its lower neighbour are; not in the last row and column.
    """
    difference = image - target
    here = difference[..., :-1, :-1]
    error = penalty(difference[..., :-1, 1:] - here) + penalty(difference[..., 1:, :-1] - here)
    known = valid[..., :-1, :-1] & valid[..., :-1, 1:] & valid[..., 1:, :-1]
    return F.pad(error.mean(dim=1), (0, 1, 0, 1)), F.pad(known, (0, 1, 0, 1))


def smooth_gradient_error(
    image: Float[Tensor, "n c h w"], target: Float[Tensor, "n c h w"], valid: Bool[Tensor, "n h w"]
) -> ErrorMap:
    """``gradient_error`` with smooth L1 in place of the absolute values (JDACS-MS; Xu et al., AAAI 2021)."""

    def smooth_l1(difference: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none")

    return gradient_error(image, target, valid, smooth_l1)


def ssim_error(
    image: Float[Tensor, "n c h w"], target: Float[Tensor, "n c h w"], valid: Bool[Tensor, "n h w"]
) -> ErrorMap:
    """(1 - SSIM) / 2, mean over the channels, in uniform windows of 3 x 3 (reflected at the edges), values in [0, 1].

    Valid where the whole window is. Wang et al.: Image quality assessment (TIP 2004); the window is that of Godard
    et al.: Unsupervised monocular depth estimation (CVPR 2017).
    """
    _, similarity = structural_similarity_index_measure(
        image, target, gaussian_kernel=False, kernel_size=_SSIM_WINDOW, data_range=1.0, return_full_image=True
    )
    invalid = F.max_pool2d((~valid).to(image.dtype)[:, None], _SSIM_WINDOW, stride=1, padding=_SSIM_WINDOW // 2)
    return ((1 - similarity) / 2).clamp(0, 1).mean(dim=1), invalid[:, 0] == 0


PHOTOMETRIC_ERRORS: dict[str, PhotometricError] = {
    "l1": colour_error,
    "l0.5": robust_colour_error,
    "charbonnier": charbonnier_error,
    "smooth_l1": smooth_colour_error,
    "gradient": gradient_error,
    "smooth_l1_gradient": smooth_gradient_error,
    "ssim": ssim_error,
}
"""By the names that configs use; each takes (image, target, valid), the last saying where the image is known."""


def weighted_error(
    image: Float[Tensor, "n c h w"],
    target: Float[Tensor, "n c h w"],
    valid: Bool[Tensor, "n h w"],
    weights: dict[str, float],
) -> ErrorMap:
    """Weighted sum of errors (by name), valid where all of them are."""
    maps = [PHOTOMETRIC_ERRORS[name](image, target, valid) for name in weights]
    total = sum(weight * error for weight, (error, _) in zip(weights.values(), maps, strict=True))
    return total, torch.stack([known for _, known in maps]).all(dim=0)
