"""What looks like one piece is one plane: superpixels as planes (MonoSelfRecon, section 3.3)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import project_pairs
from toolbox.registry import LOSSES

from .pair_loss import ErrorMap, LevelViews, PairLoss

# Each ordered pair of views has the planes of both, so that either direction counts twice in the published sum.
_TIMES_EACH_DIRECTION_COUNTS = 2


def plane_deviation_map(
    points: Float[Tensor, "m 3"], groups: Int64[Tensor, " m"], min_points: float | int, ridge: float = 0.01
) -> tuple[Float[Tensor, " m"], Bool[Tensor, " m"]]:
    """|z - z^| of each point to the plane n X = 1 fitted to its group: n = (X^T X + ridge I)^-1 X^T 1.

    z^ is where the point's ray from the camera meets the plane. All groups at once; differentiable in the points, also
    through the fit.

    Args:
        points: in the camera's frame, in metres.
        groups: number of each point's group, from 0; a number may have no points.
        min_points: groups with fewer are not valid.

    Returns:
        The deviations in metres, and whether the point's group is large enough.
    """
    if not len(points):
        return points.new_zeros(0), groups == groups
    count = int(groups.max()) + 1
    sums = points.new_zeros(count, 3).index_add(0, groups, points)
    products = (points[:, :, None] * points[:, None]).flatten(1)
    scatter = points.new_zeros(count, 9).index_add(0, groups, products).reshape(-1, 3, 3)
    scatter = scatter + ridge * torch.eye(3, dtype=points.dtype, device=points.device)
    normals = torch.linalg.solve(scatter, sums)
    large = torch.bincount(groups, minlength=count) >= min_points
    depth = points[:, 2]
    rays = points / torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)[:, None]
    on_plane = 1 / ((rays * normals[groups]).sum(dim=-1) + 1e-6)
    return (depth - on_plane).abs(), large[groups]


def superpixel_planar_map(
    sdf: Float[Tensor, " n"],
    positions: Float[Tensor, "n 3"],
    segments: Int64[Tensor, "v h w"],
    intrinsics: Float[Tensor, "v 3 3"],
    world_to_cam: Float[Tensor, "v 4 4"],
    pairs: Int64[Tensor, "p 2"],
    min_depth: Float[Tensor, " p"],
    min_points: float | int,
    published_sampling: bool = False,
) -> tuple[Float[Tensor, "p n"], Bool[Tensor, "p n"]]:
    """``plane_deviation_map`` of each voxel's surface point in view i of each pair (i, j), grouped by i's superpixels.

    Args:
        sdf, positions, min_depth: see ``project_pairs``.
        min_points: of a superpixel.
        published_sampling: a point belongs to the pixel at its position rounded down, not to the nearest.

    Returns:
        The map, and where it is valid: see ``PairProjection``; and the superpixel holds enough of the valid points.
    """
    size = (segments.shape[-2], segments.shape[-1])
    seen = project_pairs(sdf, positions, intrinsics, world_to_cam, pairs, size, min_depth)
    row, voxel = seen.valid.nonzero(as_tuple=True)
    view = pairs[row, 0]
    offset = 0.0 if published_sampling else 0.5
    x, y = (seen.pixels[view, voxel] + offset).floor().long().unbind(dim=-1)
    labels = segments[view, y.clamp(0, size[0] - 1), x.clamp(0, size[1] - 1)]
    groups = (row * (int(segments.max()) + 1) + labels).unique(return_inverse=True)[1]
    deviation, valid = plane_deviation_map(seen.surface[view, voxel], groups, min_points)
    place = (row, voxel)
    return (
        sdf.new_zeros(seen.valid.shape).index_put(place, deviation),
        torch.zeros_like(seen.valid).index_put(place, valid),
    )


@LOSSES.register_module()
class SuperpixelPlanarLoss(PairLoss):
    """Surface points of a superpixel lie in one plane (MonoSelfRecon).

    weight * sum over the levels of level_weight * sum over the pairs, and over both views of each, of the mean of
    ``superpixel_planar_map`` over all valid points. It needs superpixels: the transform ``Superpixels``.

    Args:
        min_points: of a superpixel at the finest level; a quarter of that at each coarser one.
        published_sampling: the published numerics: positions rounded down to pixels, no half-pixel shift of the
            principal point, and ``min_depth`` in only one of two evaluations of each direction.
        weight, level_weights, pairs, min_depth, sdf_scale: see ``PairLoss``.
    """

    def __init__(self, min_points: float | int = 1000, weight: float = 0.05, **options):
        super().__init__(weight=weight, **options)
        self.min_points = min_points

    def pair_map(
        self,
        sdf: Float[Tensor, " n"],
        positions: Float[Tensor, "n 3"],
        views: LevelViews,
        pairs: Int64[Tensor, "p 2"],
        min_depth: Float[Tensor, " p"],
        level: int,
    ) -> ErrorMap:
        """``superpixel_planar_map`` of one sample.

        Raises:
            UserError: the views have no superpixels.
        """
        if views.segments is None:
            raise UserError(
                "SuperpixelPlanarLoss",
                "the batch has no superpixels",
                "Add dict(type='Superpixels', cache=...) to the data set's transforms",
            )
        return superpixel_planar_map(
            sdf,
            positions,
            views.segments,
            views.intrinsics,
            views.world_to_cam,
            pairs,
            min_depth,
            self.min_points / 4**level,
            self.published_sampling,
        )

    def reduce(self, maps: list[tuple[Float[Tensor, "p _"], Bool[Tensor, "p _"]]]) -> Float[Tensor, ""]:
        """Sum over the pairs' means; mean over the samples."""
        sums = []
        for errors, valid in maps:
            kept = torch.where(valid, errors, torch.zeros_like(errors)).sum(dim=1)
            sums.append((kept / valid.sum(dim=1).clamp(min=1)).sum())
        times = 1 if self.published_sampling else _TIMES_EACH_DIRECTION_COUNTS
        return times * sum(sums) / len(sums)
