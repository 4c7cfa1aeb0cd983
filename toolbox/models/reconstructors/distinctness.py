"""Whether the images could tell an estimated depth from a wrong one: they cannot where there is no texture."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from toolbox.models.losses.view_synthesis import view_synthesis_map

_ERRORS = {"l1": 0.15, "gradient": 0.5, "ssim": 0.85}


def photometric_distinctness(
    images: Float[Tensor, "b v c h w"],
    depth: Float[Tensor, "b h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    world_to_cam: Float[Tensor, "b v 4 4"],
    factor: float = 1.2,
    window: int = 7,
    k: int = 3,
) -> Float[Tensor, "b h w"]:
    """How much the photometric error grows when the depth is ``factor`` times nearer or farther, the lesser of both.

    Near zero or negative where any depth explains the images as well (no texture, gloss), and where no source sees the
    pixel: a depth there is a guess, however smooth and consistent it is.

    Args:
        images, intrinsics: on the grid of the depth map, view 0 the reference; colours in [0, 1].
        window: errors are means over so many pixels squared.
        k: best sources whose error counts.
    """
    errors = [
        _windowed_error(images, depth * scale, intrinsics, world_to_cam, window, k)
        for scale in (1.0, factor, 1.0 / factor)
    ]
    distinctness = torch.minimum(errors[1], errors[2]) - errors[0]
    return torch.nan_to_num(distinctness, nan=0.0)


def _windowed_error(
    images: Tensor, depth: Tensor, intrinsics: Tensor, world_to_cam: Tensor, window: int, k: int
) -> Float[Tensor, "b h w"]:
    """Mean error over the pixels of a window that a source sees; NaN where there is none."""
    error, valid = view_synthesis_map(images, depth, intrinsics, world_to_cam, _ERRORS, "top_k", k)
    total, count = (
        F.avg_pool2d(values[:, None], window, stride=1, padding=window // 2)[:, 0]
        for values in (torch.where(valid, error, torch.zeros_like(error)), valid.to(error.dtype))
    )
    return torch.where(count > 0, total / count, torch.nan)
