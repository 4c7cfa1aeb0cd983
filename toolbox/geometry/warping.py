"""Sampling images at pixel positions, and warping a source view into the reference by depth."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .cameras import pixel_grid, relative_projection

# In grid_sample's coordinates, where the image spans [-1, 1].
_FAR_OUTSIDE = 1e4
_BORDER_TOLERANCE = 1e-6


def sample_at_pixels(
    image: Float[Tensor, "b c h w"],
    xy: Float[Tensor, "b n m 2"],
    mode: str = "bilinear",
    padding: str = "zeros",
    align_corners: bool = True,
) -> Float[Tensor, "b c n m"]:
    """Values of an image at pixel positions (x, y).

    Args:
        padding: 'zeros' or 'border', what lies outside.
        align_corners: True samples at the positions given. False takes positions normalised by size - 1 as if they
            were normalised by size, as published code does: it really samples at x W / (W - 1) - 0.5.
    """
    height, width = image.shape[-2:]
    extent = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=xy.dtype, device=xy.device)
    grid = xy * (2 / extent) - 1
    return F.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=align_corners)


def warp_to_reference(
    source: Float[Tensor, "b c hs ws"],
    depth: Float[Tensor, "b d h w"],
    ref_intrinsics: Float[Tensor, "b 3 3"],
    ref_world_to_cam: Float[Tensor, "b 4 4"],
    src_intrinsics: Float[Tensor, "b 3 3"],
    src_world_to_cam: Float[Tensor, "b 4 4"],
    padding: str = "zeros",
    align_corners: bool = True,
    keep_behind: bool = False,
) -> tuple[Float[Tensor, "b c d h w"], Bool[Tensor, "b d h w"]]:
    """Sample a source view where the reference's pixels fall at the given depths.

    Args:
        source: image or features of the source view.
        depth: depths in the reference camera, any number d of hypotheses per pixel.
        ref_intrinsics, src_intrinsics: of the reference's and the source's resolution here.
        padding, align_corners: see ``sample_at_pixels``.
        keep_behind: sample points behind the source camera too (published code never tests for them).

    Returns:
        The warped source, and where it is valid (inside the source, in front of its camera). Invalid samples are 0
        (points behind the camera) or follow ``padding``.
    """
    batch, planes, height, width = depth.shape
    matrix, offset = relative_projection(
        ref_intrinsics.double(), ref_world_to_cam, src_intrinsics.double(), src_world_to_cam
    )
    # Straight to grid_sample's coordinates, whose middle is 0: float32 is finest there.
    to_grid = _pixel_to_grid(source.shape[-2:], like=matrix)
    matrix, offset = (to_grid @ matrix).to(depth.dtype), (offset @ to_grid.T).to(depth.dtype)
    grid = pixel_grid(height, width, depth).reshape(-1, 2)
    pixels = torch.cat((grid, torch.ones_like(grid[:, :1])), dim=1).T
    x, y, z = (
        torch.addcmul(offset[:, k, None, None], (matrix[:, k : k + 1] @ pixels), depth.reshape(batch, planes, -1))
        for k in range(3)
    )
    in_front = z > 1e-6 * depth.reshape(batch, planes, -1).abs().clamp(min=1e-12)
    if not keep_behind:
        # A point on the camera's plane would be sampled at infinity, whose gradient is not a number.
        z = torch.where(in_front, z, torch.ones_like(z))
        x, y = (torch.where(in_front, position, torch.full_like(position, _FAR_OUTSIDE)) for position in (x, y))
    x, y = x / z, y / z
    warped = F.grid_sample(
        source, torch.stack((x, y), dim=-1), mode="bilinear", padding_mode=padding, align_corners=align_corners
    )
    valid = (x.abs() <= 1 + _BORDER_TOLERANCE) & (y.abs() <= 1 + _BORDER_TOLERANCE) & in_front
    shape = (batch, planes, height, width)
    return warped.reshape(batch, source.shape[1], *shape[1:]), valid.reshape(shape)


def _pixel_to_grid(size: tuple[int, int], like: Tensor) -> Float[Tensor, "3 3"]:
    """Pixel positions of an image of that size -> [-1, 1], the centres of the corner pixels at the ends."""
    height, width = size
    scale_x, scale_y = 2 / max(width - 1, 1), 2 / max(height - 1, 1)
    return like.new_tensor([[scale_x, 0, -1], [0, scale_y, -1], [0, 0, 1]])
