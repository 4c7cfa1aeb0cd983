"""Depth maps between resolutions: unknown pixels (0) are never mixed into known ones."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .cameras import pixel_grid
from .warping import sample_at_pixels


def _source_positions(
    intrinsics: Float[Tensor, "b 3 3"], to_intrinsics: Float[Tensor, "b 3 3"], size: tuple[int, int], like: Tensor
) -> Float[Tensor, "b h w 2"]:
    """Where each pixel of a grid with ``to_intrinsics`` lies on the grid with ``intrinsics`` (same camera)."""
    grid = pixel_grid(*size, like=like)
    homogeneous = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1).reshape(-1, 3)
    mapping = intrinsics.double() @ torch.linalg.inv(to_intrinsics.double())
    positions = homogeneous @ mapping.to(like.dtype).transpose(-1, -2)
    return positions[..., :2].reshape(-1, *size, 2)


def resample_dense(
    values: Float[Tensor, "b hs ws"],
    intrinsics: Float[Tensor, "b 3 3"],
    to_intrinsics: Float[Tensor, "b 3 3"],
    size: tuple[int, int],
) -> Float[Tensor, "b h w"]:
    """A map without unknown pixels (predicted depth, confidence) on another grid of the same camera.

    Bilinear; edges clamped. Arguments as in ``resample_depth``.
    """
    xy = _source_positions(intrinsics, to_intrinsics, size, values)
    return sample_at_pixels(values[:, None], xy, padding="border")[:, 0]


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
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode is 'nearest' or 'bilinear', not '{mode}'")
    xy = _source_positions(intrinsics, to_intrinsics, size, depth)
    image = depth[:, None]
    # Half-way between two pixels, rounding noise must not decide which is the nearest.
    nearest = sample_at_pixels(image, torch.floor(xy + 0.5 - 1e-4), mode="nearest")[:, 0]
    if mode == "nearest":
        return nearest
    smooth = sample_at_pixels(image, xy)[:, 0]
    known = sample_at_pixels((image > 0).to(depth.dtype), xy)[:, 0]
    return torch.where(known > 1 - 1e-4, smooth, nearest)


def upsample_depth(
    depth: Float[Tensor, "b hs ws"], size: tuple[int, int], mode: str = "bicubic", half_pixel: bool = True
) -> Float[Tensor, "b h w"]:
    """A dense depth map (no unknown pixels) on a finer grid of the same image; edges clamped.

    Args:
        size: (height, width) of the result.
        mode: 'bicubic' (a = -0.75, as CVP-MVSNet) or 'bilinear'.
        half_pixel: see ``scale_intrinsics``; False: coarse pixel i stands at fine pixel i times the ratio.
    """
    if half_pixel:
        return F.interpolate(depth[:, None], size=size, mode=mode, align_corners=False)[:, 0]
    ratio = depth.new_tensor([depth.shape[-1] / size[1], depth.shape[-2] / size[0]])
    xy = (pixel_grid(*size, like=depth) * ratio).expand(depth.shape[0], -1, -1, -1)
    return sample_at_pixels(depth[:, None], xy, mode=mode, padding="border")[:, 0]
