"""Voxels moved onto the surface, and where pairs of views see them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from .cameras import invert_rigid, project, transform_points


@dataclass
class PairProjection:
    """The surface that voxels stand for, in each view, and seen from the other view of each pair (i, j).

    Attributes:
        surface: points in each view's camera, in metres: every view moves the voxel along its own ray.
        pixels: positions (x, y) of each view's points in its own image; those of the voxels themselves.
        other_pixels: of view i's points in image j.
        valid: both images show the voxel, image j shows i's point, and the point is deep enough in i.
    """

    surface: Float[Tensor, "v n 3"]
    pixels: Float[Tensor, "v n 2"]
    other_pixels: Float[Tensor, "p n 2"]
    valid: Bool[Tensor, "p n"]


def surface_points(
    sdf: Float[Tensor, " n"], positions: Float[Tensor, "n 3"], world_to_cam: Float[Tensor, "v 4 4"]
) -> Float[Tensor, "v n 3"]:
    """p (|p| + sdf) / |p|: each voxel moved along its ray by its signed distance, in each view's camera.

    Args:
        sdf: in metres, positive in front of the surface.
        positions: of the voxels in the world, in metres.
    """
    in_cam = transform_points(world_to_cam, positions.expand(len(world_to_cam), -1, -1))
    distance = in_cam.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return in_cam * (1 + sdf[:, None] / distance)


def project_pairs(
    sdf: Float[Tensor, " n"],
    positions: Float[Tensor, "n 3"],
    intrinsics: Float[Tensor, "v 3 3"],
    world_to_cam: Float[Tensor, "v 4 4"],
    pairs: Int64[Tensor, "p 2"],
    size: tuple[int, int],
    min_depth: Float[Tensor, " p"],
) -> PairProjection:
    """The surface of all pairs of views at once; differentiable in ``sdf``.

    Args:
        sdf, positions: see ``surface_points``.
        size: (height, width) of the images, of the resolution that ``intrinsics`` are of.
        min_depth: of a point in view i, for each pair, in metres.
    """
    surface = surface_points(sdf, positions, world_to_cam)
    voxels = transform_points(world_to_cam, positions.expand(len(world_to_cam), -1, -1))
    pixels, depth = project(voxels, intrinsics)
    seen = inside_image(pixels, size) & (depth > 0)
    first, second = pairs.unbind(dim=1)
    first_to_second = world_to_cam[second] @ invert_rigid(world_to_cam[first])
    other_pixels, other_depth = project(transform_points(first_to_second, surface[first]), intrinsics[second])
    deep = surface[first][..., 2] > min_depth[:, None]
    in_both = inside_image(other_pixels, size) & (other_depth > 0)
    return PairProjection(surface, pixels, other_pixels, seen[first] & seen[second] & in_both & deep)


def inside_image(pixels: Float[Tensor, "*b 2"], size: tuple[int, int]) -> Bool[Tensor, "*b"]:
    """Whether positions lie between the centres of an image's corner pixels; size is (height, width)."""
    extent = torch.tensor([size[1] - 1, size[0] - 1], dtype=pixels.dtype, device=pixels.device)
    return ((2 * pixels / extent - 1).abs() <= 1).all(dim=-1)
