"""Pinhole cameras (conventions: see the package's docstring)."""

import torch
from jaxtyping import Float
from torch import Tensor


def invert_rigid(transform: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Inverse of a rotation and translation (world_to_cam -> cam_to_world and back)."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    inverse = torch.zeros_like(transform)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -rotation @ transform[..., :3, 3:]
    inverse[..., 3, 3] = 1
    return inverse


def camera_centre(world_to_cam: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 3"]:
    """Position of the camera in the world."""
    return invert_rigid(world_to_cam)[..., :3, 3]


def scale_intrinsics(
    intrinsics: Float[Tensor, "*b 3 3"], scale_x: float, scale_y: float, half_pixel: bool = True
) -> Float[Tensor, "*b 3 3"]:
    """Intrinsics of the image resized by (scale_x, scale_y).

    Args:
        half_pixel: True for a resize of areas (cx' = (cx + 0.5) s - 0.5); False for taking every (1/s)-th pixel, as a
            strided convolution does (cx' = cx s).
    """
    scaled = intrinsics.clone()
    scaled[..., 0, :] *= scale_x
    scaled[..., 1, :] *= scale_y
    if half_pixel:
        scaled[..., 0, 2] += 0.5 * scale_x - 0.5
        scaled[..., 1, 2] += 0.5 * scale_y - 0.5
    return scaled


def crop_intrinsics(intrinsics: Float[Tensor, "*b 3 3"], left: int, top: int) -> Float[Tensor, "*b 3 3"]:
    """Intrinsics of the image whose pixel (0, 0) was (left, top)."""
    cropped = intrinsics.clone()
    cropped[..., 0, 2] -= left
    cropped[..., 1, 2] -= top
    return cropped


def pixel_grid(height: int, width: int, like: Tensor) -> Float[Tensor, "h w 2"]:
    """Positions (x, y) of all pixels, with the dtype and device of ``like``."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=like.dtype, device=like.device),
        torch.arange(width, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    return torch.stack((x, y), dim=-1)


def transform_points(transform: Float[Tensor, "*b 4 4"], points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 3"]:
    """Apply a rotation and translation to points."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def project(
    points_cam: Float[Tensor, "*b n 3"], intrinsics: Float[Tensor, "*b 3 3"]
) -> tuple[Float[Tensor, "*b n 2"], Float[Tensor, "*b n"]]:
    """Pixel positions (x, y) and z-depths of points in the camera's frame; meaningless where the depth is <= 0."""
    homogeneous = points_cam @ intrinsics.transpose(-1, -2)
    depth = points_cam[..., 2]
    safe = torch.where(depth.abs() < 1e-12, torch.full_like(depth, 1e-12), depth)
    return homogeneous[..., :2] / safe[..., None], depth


def unproject(depth: Float[Tensor, "*b h w"], intrinsics: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b h w 3"]:
    """Points in the camera's frame of a depth map, a pixel each; unknown depth (0) gives the camera's centre."""
    height, width = depth.shape[-2:]
    grid = pixel_grid(height, width, depth)
    rays = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1).reshape(height * width, 3)
    rays = rays @ torch.linalg.inv(intrinsics).transpose(-1, -2)
    return rays.reshape(*depth.shape, 3) * depth[..., None]


def relative_projection(
    ref_intrinsics: Float[Tensor, "*b 3 3"],
    ref_world_to_cam: Float[Tensor, "*b 4 4"],
    src_intrinsics: Float[Tensor, "*b 3 3"],
    src_world_to_cam: Float[Tensor, "*b 4 4"],
) -> tuple[Float[Tensor, "*b 3 3"], Float[Tensor, "*b 3"]]:
    """(A, t) with  z_src (x_src, y_src, 1) = depth A (x_ref, y_ref, 1) + t.

    Computed in float64 and returned in the intrinsics' dtype: the product of large numbers that cancel.
    """
    ref_k, src_k = ref_intrinsics.double(), src_intrinsics.double()
    relative = src_world_to_cam.double() @ invert_rigid(ref_world_to_cam.double())
    matrix = src_k @ relative[..., :3, :3] @ torch.linalg.inv(ref_k)
    offset = (src_k @ relative[..., :3, 3:])[..., 0]
    return matrix.to(ref_intrinsics.dtype), offset.to(ref_intrinsics.dtype)


def rigid_motion(motion: Float[Tensor, "n 6"]) -> Float[Tensor, "n 4 4"]:
    """Rotation by a vector (radians, first three) and translation (last three)."""
    x, y, z = motion[:, :3].unbind(dim=1)
    zero = torch.zeros_like(x)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=1).unflatten(1, (3, 3))
    top = torch.cat((torch.matrix_exp(skew), motion[:, 3:, None]), dim=2)
    bottom = motion.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(motion), 1, 4)
    return torch.cat((top, bottom), dim=1)
