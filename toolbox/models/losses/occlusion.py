"""What the reference's own depth hides from a source: a z-buffer of its points, seen by the source."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolbox.geometry import pixel_grid, relative_projection


@torch.no_grad()
def hidden_from_sources(
    depth: Float[Tensor, "b h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    world_to_cam: Float[Tensor, "b v 4 4"],
    tolerance: float,
) -> Bool[Tensor, "b s h w"]:
    """Pixels of the reference (view 0) that another, nearer pixel of it hides from a source (s = v - 1 sources).

    Every point of the depth map is put on the four pixels of the source around its projection, which keep their
    nearest depth. A pixel is hidden if its depth in the source exceeds by more than ``tolerance`` (relative) what
    its nearest pixel there keeps. What the reference does not see cannot hide anything; nor can a surface that the
    source magnifies more than twofold, whose points leave gaps. The decision has no gradient.

    Args:
        depth: of the reference; 0 where unknown.
        intrinsics: on the depth map's grid; sources have its size.
        tolerance: above what the depth of one surface changes over a pixel or two.
    """
    (batch, height, width), sources = depth.shape, intrinsics.shape[1] - 1
    x, y, z = _seen_by_sources(depth, intrinsics, world_to_cam)
    in_front = (z > 0) & (depth > 0).flatten(1)[:, None]
    z = torch.where(in_front, z, torch.full_like(z, torch.inf))
    outside = height * width

    def cell(column: Tensor, row: Tensor) -> Tensor:
        inside = in_front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return torch.where(inside, row * width + column, torch.full_like(row, outside)).long()

    left, top = x.floor(), y.floor()
    around = torch.cat([cell(left + i, top + j) for j in (0, 1) for i in (0, 1)], dim=-1)
    nearest = torch.full((batch, sources, outside + 1), torch.inf, dtype=z.dtype, device=z.device)
    nearest.scatter_reduce_(-1, around, z.repeat(1, 1, 4), reduce="amin")
    nearest[..., outside] = torch.inf
    hidden = z > (1 + tolerance) * nearest.gather(-1, cell((x + 0.5).floor(), (y + 0.5).floor()))
    return (hidden & in_front).unflatten(-1, (height, width))


def _seen_by_sources(
    depth: Float[Tensor, "b h w"], intrinsics: Float[Tensor, "b v 3 3"], world_to_cam: Float[Tensor, "b v 4 4"]
) -> tuple[Float[Tensor, "b s n"], Float[Tensor, "b s n"], Float[Tensor, "b s n"]]:
    """Pixel position (x, y) and depth of each of the reference's points in each source."""
    views = intrinsics.shape[1]
    matrix, offset = relative_projection(
        intrinsics[:, :1].double().expand(-1, views - 1, -1, -1),
        world_to_cam[:, :1].expand(-1, views - 1, -1, -1),
        intrinsics[:, 1:].double(),
        world_to_cam[:, 1:],
    )
    grid = pixel_grid(*depth.shape[-2:], like=depth).flatten(0, 1)
    homogeneous = torch.cat((grid, torch.ones_like(grid[:, :1])), dim=-1).T
    points = (matrix.to(depth.dtype) @ homogeneous) * depth.flatten(1)[:, None, None]
    x, y, z = (points + offset.to(depth.dtype)[..., None]).unbind(dim=-2)
    safe = torch.where(z > 0, z, torch.ones_like(z))
    return x / safe, y / safe, z
