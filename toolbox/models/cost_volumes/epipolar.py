"""How depth along a reference ray moves the projection in a source view, in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.geometry import pixel_grid, relative_projection

from .level import LevelGeometry


def depth_per_pixel_shift(
    depth: Float[Tensor, "b h w"], geometry: LevelGeometry, view: int, finite_step: bool = False
) -> Float[Tensor, "b h w"]:
    """Depth change that shifts the projection in source ``view`` by one pixel of this level.

    With z_s (x_s, y_s, 1) = D a + t, where a = A (x, y, 1): the projection moves along the epipolar line by
    |q| dD / (z z'), with q = (a_x t_z - a_z t_x, a_y t_z - a_z t_y), z = a_z D + t_z and z' = z + a_z dD.

    Args:
        finite_step: the exact depth change for one whole pixel in the direction of growing x (may be negative); else
            the limit for small shifts, z^2 / |q|, which is positive and symmetric, and infinite without parallax.

    Returns:
        float64, whatever the depth's precision.
    """
    cameras = geometry.intrinsics.double(), geometry.world_to_cam.double()
    matrix, offset = relative_projection(cameras[0][:, 0], cameras[1][:, 0], cameras[0][:, view], cameras[1][:, view])
    depth = depth.double()
    height, width = depth.shape[-2:]
    grid = pixel_grid(height, width, depth)
    pixels = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1).reshape(-1, 3)
    ax, ay, az = (pixels @ matrix.transpose(-1, -2)).reshape(-1, height, width, 3).unbind(dim=-1)
    tx, ty, tz = offset[:, :, None, None].unbind(dim=1)
    z = az * depth + tz
    qx, qy = ax * tz - az * tx, ay * tz - az * ty
    q = torch.hypot(qx, qy)
    if finite_step:
        return z.square() / (torch.where(qx < 0, -q, q) - z * az)
    return z.square() / q
