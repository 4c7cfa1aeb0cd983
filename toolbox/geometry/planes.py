"""Fronto-parallel planes of a view (a multiplane image): compositing them, and seeing them from another view.

Tucker, Snavely: Single-view view synthesis with multiplane images (CVPR 2020); with volume rendering, Li et al.: MINE
(ICCV 2021). Planes are sorted from near to far.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .cameras import pixel_grid, transform_points, unproject
from .warping import sample_at_pixels

# Of the last plane to what lies behind it.
_LAST_INTERVAL = 1e3


def plane_points(
    disparities: Float[Tensor, "b d"], intrinsics: Float[Tensor, "b 3 3"], size: tuple[int, int]
) -> Float[Tensor, "b d h w 3"]:
    """Where each pixel's ray meets each plane (z = 1 / disparity), in the camera's frame."""
    depth = (1 / disparities)[..., None, None].expand(-1, -1, *size)
    return unproject(depth, intrinsics[:, None].expand(-1, disparities.shape[1], 3, 3))


def composite_weights(
    density: Float[Tensor, "b d h w"], points: Float[Tensor, "b d h w 3"]
) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b d h w"]]:
    """How much light reaches each plane, and how much of it stops there.

    T_k = prod_{j<k} exp(-s_j l_j) and w_k = T_k (1 - exp(-s_k l_k)), l the distance to the next plane along the ray.

    Args:
        density: s, per unit of ``points``.
        points: of every plane along each pixel's ray.
    """
    lengths = (points[:, 1:] - points[:, :-1]).norm(dim=-1)
    lengths = torch.cat((lengths, torch.full_like(density[:, :1], _LAST_INTERVAL)), dim=1)
    passed = torch.exp(-density * lengths)
    # 1e-6: the product's gradient divides by each factor.
    reaching = torch.cumprod(passed + 1e-6, dim=1)
    reaching = torch.cat((torch.ones_like(reaching[:, :1]), reaching[:, :-1]), dim=1)
    return reaching, reaching * (1 - passed)


def composite_depth(
    weights: Float[Tensor, "b d h w"], depth: Float[Tensor, "b d h w"], background: float | None = None
) -> Float[Tensor, "b h w"]:
    """Expected depth: sum w z / sum w; with ``background``, sum w z + (1 - sum w) background."""
    total, mean = weights.sum(dim=1), (weights * depth).sum(dim=1)
    if background is None:
        return mean / (total + 1e-5)
    return mean + (1 - total) * background


def warp_planes(
    values: Float[Tensor, "b d c h w"],
    disparities: Float[Tensor, "b d"],
    src_intrinsics: Float[Tensor, "b 3 3"],
    tgt_intrinsics: Float[Tensor, "b 3 3"],
    src_to_tgt: Float[Tensor, "b 4 4"],
) -> tuple[Float[Tensor, "b d c h w"], Float[Tensor, "b d h w 3"], Bool[Tensor, "b d h w"]]:
    """Planes of a source view as a target view of the same size sees them: a homography each.

    Beyond its edges, a plane goes on with its edge's values.

    Returns:
        The values on the target's pixels; the points in the target's camera that they belong to; and whether they lie
        within a pixel of the plane's image, in front of the target.
    """
    (batch, planes, channels), size = values.shape[:3], (values.shape[-2], values.shape[-1])
    xy, in_front = _source_pixels(disparities, src_intrinsics, tgt_intrinsics, src_to_tgt, size)
    xy = xy.to(values.dtype)
    warped = sample_at_pixels(values.flatten(0, 1), xy.flatten(0, 1), padding="border")
    extent = torch.tensor([size[1], size[0]], dtype=xy.dtype, device=xy.device)
    seen = ((xy > -1) & (xy < extent)).all(dim=-1) & in_front
    held = torch.minimum(xy.clamp(min=0), extent - 1)
    rays = torch.cat((held, torch.ones_like(held[..., :1])), dim=-1)
    rays = rays @ torch.linalg.inv(src_intrinsics.double()).to(values.dtype).transpose(-1, -2)[:, None, None]
    points = transform_points(src_to_tgt.to(values.dtype), (rays / disparities[..., None, None, None]).flatten(1, 3))
    return warped.reshape(batch, planes, channels, *size), points.reshape(batch, planes, *size, 3), seen


def _source_pixels(
    disparities: Float[Tensor, "b d"],
    src_intrinsics: Float[Tensor, "b 3 3"],
    tgt_intrinsics: Float[Tensor, "b 3 3"],
    src_to_tgt: Float[Tensor, "b 4 4"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "b d h w 2"], Bool[Tensor, "b d h w"]]:
    """Where the target's pixels lie in the source, by each plane; and whether the plane is in front of the target."""
    rotation, offset = src_to_tgt[:, None, :3, :3].double(), src_to_tgt[:, None, :3, 3:].double()
    # A plane n X = z of the source, n = (0, 0, 1): X' = (R + t n^T / z) X.
    induced = rotation + torch.cat(
        (
            torch.zeros_like(rotation[..., :2]).expand(-1, disparities.shape[1], -1, -1),
            offset * disparities[..., None, None].double(),
        ),
        dim=-1,
    )
    forward = tgt_intrinsics[:, None].double() @ induced @ torch.linalg.inv(src_intrinsics.double())[:, None]
    grid = pixel_grid(*size, like=forward).flatten(0, 1)
    homogeneous = torch.cat((grid, torch.ones_like(grid[:, :1])), dim=-1)
    found = homogeneous @ torch.linalg.inv(forward).transpose(-1, -2)
    scale = found[..., 2:]
    in_front = scale > 1e-9
    # What lies behind the target lies nowhere in the source.
    xy = torch.where(in_front, found[..., :2] / torch.where(in_front, scale, torch.ones_like(scale)), -1e4)
    return xy.unflatten(2, size), in_front[..., 0].unflatten(2, size)
