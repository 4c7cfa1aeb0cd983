"""The surface looks alike in all views: photometric consistency of a signed distance field."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolbox.geometry import project_pairs, sample_at_pixels
from toolbox.models.losses.multi_level import masked_mean
from toolbox.registry import LOSSES

from .pair_loss import LevelViews, PairLoss


def sdf_consistency_map(
    sdf: Float[Tensor, " n"],
    positions: Float[Tensor, "n 3"],
    images: Float[Tensor, "v c h w"],
    intrinsics: Float[Tensor, "v 3 3"],
    world_to_cam: Float[Tensor, "v 4 4"],
    pairs: Int64[Tensor, "p 2"],
    min_depth: Float[Tensor, " p"],
    published_sampling: bool = False,
) -> tuple[Float[Tensor, "p n"], Bool[Tensor, "p n"]]:
    """|I_i(x) - I_j(x')|, mean over the colours, of each voxel's surface point in each pair (i, j) of views.

    View i sees the voxel, and thus its surface point, at x, and the point lies at x' in image j. Only x' depends on the
    signed distance, differentiably (MonoSelfRecon, section 3.2).

    Args:
        sdf, positions, min_depth: see ``project_pairs``.
        published_sampling: sample half a pixel off, as ``sample_at_pixels`` does with ``align_corners=False``.

    Returns:
        The map, and where it is valid: see ``PairProjection``.
    """
    size = (images.shape[-2], images.shape[-1])
    seen = project_pairs(sdf, positions, intrinsics, world_to_cam, pairs, size, min_depth)
    own = _colours(images, seen.pixels, published_sampling)
    # A point far outside may lie at infinity, whose gradient is not a number.
    other = torch.where(seen.valid[..., None], seen.other_pixels, torch.zeros_like(seen.other_pixels))
    errors = sdf.new_zeros(seen.valid.shape)
    for view in pairs[:, 1].unique().tolist():
        rows = pairs[:, 1] == view
        shown = _colours(images[view : view + 1], other[rows].reshape(1, -1, 2), published_sampling)
        difference = own[pairs[rows, 0]] - shown.reshape(int(rows.sum()), -1, images.shape[1])
        errors = errors.index_put((rows.nonzero()[:, 0],), difference.abs().mean(dim=-1))
    return errors, seen.valid


def _colours(
    images: Float[Tensor, "v c h w"], pixels: Float[Tensor, "v n 2"], published_sampling: bool
) -> Float[Tensor, "v n c"]:
    pixels = pixels.nan_to_num().clamp(-1e4, 1e4)
    sampled = sample_at_pixels(images, pixels[:, None], padding="border", align_corners=not published_sampling)
    return sampled[:, :, 0].transpose(1, 2)


@LOSSES.register_module()
class SDFConsistencyLoss(PairLoss):
    """Photometric consistency of the surface between pairs of views (MonoSelfRecon).

    weight * sum over the levels of level_weight * mean of ``sdf_consistency_map`` over all valid points of all pairs.

    Args:
        colour_scale: of the images in [0, 1]; 255 keeps the published balance with other losses.
        published_sampling: the published numerics: images resized bilinearly, and sampled at positions normalised by
            size - 1 without aligned corners; no half-pixel shift of the principal point; and ``min_depth`` in only one
            of two evaluations of each direction.
        weight, level_weights, pairs, min_depth, sdf_scale: see ``PairLoss``.
    """

    def __init__(self, colour_scale: float = 255.0, weight: float = 1.0, **options):
        super().__init__(weight=weight, **options)
        self.colour_scale = colour_scale

    def pair_map(
        self,
        sdf: Float[Tensor, " n"],
        positions: Float[Tensor, "n 3"],
        views: LevelViews,
        pairs: Int64[Tensor, "p 2"],
        min_depth: Float[Tensor, " p"],
        level: int,
    ) -> tuple[Float[Tensor, "p n"], Bool[Tensor, "p n"]]:
        """``sdf_consistency_map`` of one sample."""
        return sdf_consistency_map(
            sdf,
            positions,
            views.images * self.colour_scale,
            views.intrinsics,
            views.world_to_cam,
            pairs,
            min_depth,
            self.published_sampling,
        )

    def reduce(self, maps: list[tuple[Float[Tensor, "p _"], Bool[Tensor, "p _"]]]) -> Float[Tensor, ""]:
        """Mean over the samples of the mean over the valid points of all pairs."""
        return sum(masked_mean(errors, valid) for errors, valid in maps) / len(maps)
