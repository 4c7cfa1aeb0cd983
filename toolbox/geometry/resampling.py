"""Depth maps between resolutions: unknown pixels (0) are never mixed into known ones."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .cameras import pixel_grid
from .warping import sample_at_pixels


def resample_depth(
    depth: Float[Tensor, "b hs ws"],
    intrinsics: Float[Tensor, "b 3 3"],
    to_intrinsics: Float[Tensor, "b 3 3"],
    size: tuple[int, int],
    mode: str = "nearest",
) -> Float[Tensor, "b h w"]:
    """A depth map seen by the same camera with other intrinsics (another resolution or crop).

    Args:
        depth: 0 where unknown.
        intrinsics: of ``depth``.
        to_intrinsics, size: of the result; size is (height, width).
        mode: 'nearest' takes the nearest pixel, 'bilinear' interpolates where all neighbours are known and takes the
            nearest pixel elsewhere.

    Returns:
        Depth, 0 where unknown or outside.
    """
    grid = pixel_grid(*size, like=depth)
    homogeneous = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1).reshape(-1, 3)
    mapping = intrinsics.double() @ torch.linalg.inv(to_intrinsics.double())
    positions = homogeneous @ mapping.to(depth.dtype).transpose(-1, -2)
    xy = (positions[..., :2]).reshape(depth.shape[0], *size, 2)
    # Half-way between two pixels, rounding noise must not decide which is the nearest.
    nearest_xy = torch.floor(xy + 0.5 - 1e-4)
    image = depth[:, None]
    nearest = sample_at_pixels(image, nearest_xy, mode="nearest")[:, 0]
    if mode == "nearest":
        return nearest
    if mode != "bilinear":
        raise ValueError(f"mode is 'nearest' or 'bilinear', not '{mode}'")
    smooth = sample_at_pixels(image, xy)[:, 0]
    known = sample_at_pixels((image > 0).to(depth.dtype), xy)[:, 0]
    return torch.where(known > 1 - 1e-4, smooth, nearest)


def upsample_depth(
    depth: Float[Tensor, "b hs ws"], size: tuple[int, int], mode: str = "bicubic"
) -> Float[Tensor, "b h w"]:
    """A dense depth map (no unknown pixels) resized with half-pixel centres; CVP-MVSNet uses bicubic, a = -0.75."""
    return F.interpolate(depth[:, None], size=size, mode=mode, align_corners=False)[:, 0]
