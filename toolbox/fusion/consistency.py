"""Forward-backward consistency of depth maps (the geometric filter of the MVSNet family).

A reference pixel at depth d is projected into a source; the source's depth there is lifted and projected back. The
point that comes back lies on the line from the source's centre c through the reference's point X, at c + r (X - c)
with r = (the source's depth) / (the depth of X in the source). So, with u = 1 - r and q = K c the centre in the
reference's pixels,

    depth that comes back  = d + u (c_z - d)
    pixel displacement     = u (q_xy - xy c_z) / (depth that comes back)

exactly; no second projection is needed, and nothing cancels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolbox.geometry import pixel_grid, relative_projection

BLOCK = 8192  # pixels compared at a time: with ten sources a block's arrays stay in the cache


@dataclass(frozen=True)
class GeometricConsistency:
    """How a reference depth map agrees with its sources.

    Attributes:
        mask: where the source agrees within both limits.
        reprojected_depth: depth of the reference camera that each source gives the pixel; meaningless where the source
            sees nothing there.
        count: number of sources that agree.
    """

    mask: Bool[Tensor, "v h w"]
    reprojected_depth: Float[Tensor, "v h w"]
    count: Int[Tensor, "h w"]


class SourceViews:
    """Source depth maps as one reference sees them: what is constant over its pixels.

    Args:
        ref_intrinsics, ref_world_to_cam: of the reference.
        src_depths: 0 where unknown.
        src_intrinsics, src_world_to_cam: of the sources.
    """

    def __init__(
        self,
        ref_intrinsics: Float[Tensor, "3 3"],
        ref_world_to_cam: Float[Tensor, "4 4"],
        src_depths: Float[Tensor, "v hs ws"],
        src_intrinsics: Float[Tensor, "v 3 3"],
        src_world_to_cam: Float[Tensor, "v 4 4"],
    ):
        count, height, width = src_depths.shape
        reference = (ref_intrinsics.double().expand(count, 3, 3), ref_world_to_cam.double().expand(count, 4, 4))
        source = (src_intrinsics.double(), src_world_to_cam.double())
        matrix, offset = relative_projection(*reference, *source)
        _, centres = relative_projection(*source, *reference)
        self.depths = src_depths
        self.extent = torch.tensor([max(width - 1, 1), max(height - 1, 1)], dtype=torch.float64, device=matrix.device)
        # z_src (x, y, 1) = projection (x d, y d, d, 1), positions in [-1, 1] over the image, as the sampler takes them.
        normalise = torch.diag(torch.cat((2 / self.extent, self.extent.new_ones(1))))
        normalise[:2, 2] = -1
        projection = normalise @ torch.cat((matrix, offset[..., None]), dim=-1)
        self.projection = projection.reshape(3 * count, 4).to(src_depths.dtype)
        self.centres = centres.to(src_depths.dtype)  # in the reference's frame, times its intrinsics

    def sample(
        self, xy: Float[Tensor, "n 2"], depth: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, "v n 2"], Float[Tensor, "v n"], Float[Tensor, "v n"]]:
        """Project reference pixels at their depths into the sources.

        Returns:
            Positions in [-1, 1] over the image (far outside for points behind the source), the points' depth in the
            source (a tiny positive number behind it), and the depth in the source's map there: bilinear, 0 outside.
        """
        homogeneous = torch.stack((xy[:, 0] * depth, xy[:, 1] * depth, depth, torch.ones_like(depth)))
        points = (self.projection @ homogeneous).reshape(len(self.depths), 3, -1)
        z = points[:, 2].clamp_min(1e-12)
        position = torch.empty(*z.shape, 2, dtype=z.dtype, device=z.device)
        torch.div(points[:, 0], z, out=position[..., 0])
        torch.div(points[:, 1], z, out=position[..., 1])
        seen = F.grid_sample(self.depths[:, None], position[:, None], align_corners=True)
        return position, z, seen[:, 0, 0]

    def compare(
        self,
        xy: Float[Tensor, "n 2"],
        depth: Float[Tensor, " n"],
        max_reprojection_px: float,
        max_relative_depth: float,
    ) -> tuple[Bool[Tensor, "v n"], Float[Tensor, "v n"]]:
        """Which sources agree with reference pixels at their depths, and the depth that each gives them."""
        _, z, seen = self.sample(xy, depth)
        mask = seen > 0
        change = 1 - seen.div_(z)
        shift = (self.centres[:, 2:] - depth).mul_(change)
        returned = shift + depth
        in_limits = self.centres / max_reprojection_px  # so that displacements are measured in the limit
        across_x = (in_limits[:, 2:] * xy[:, 0]).sub_(in_limits[:, :1])
        across_y = (in_limits[:, 2:] * xy[:, 1]).sub_(in_limits[:, 1:2])
        displacement = across_x.square_().add_(across_y.square_()).mul_(change.square_())
        mask &= displacement < returned.square()
        # With limits of at most 1 this also refuses points that come back behind the reference.
        mask &= shift.abs_() < depth * max_relative_depth
        return mask, returned

    def agreement(
        self,
        xy: Float[Tensor, "n 2"],
        depth: Float[Tensor, " n"],
        max_reprojection_px: float,
        max_relative_depth: float,
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Number of sources that agree with each pixel, and its depth averaged over them and itself."""
        counts, averages = [], []
        for xy_block, depth_block in zip(xy.split(BLOCK), depth.split(BLOCK), strict=True):
            mask, returned = self.compare(xy_block, depth_block, max_reprojection_px, max_relative_depth)
            weight = mask.to(depth.dtype)
            count = weight.sum(0)
            averages.append(returned.mul_(weight).sum(0).add_(depth_block).div_(count + 1))
            counts.append(count)
        return torch.cat(counts).long(), torch.cat(averages)


def filter_confidence(
    depth: Float[Tensor, "*b h w"], confidence: Float[Tensor, "*b h w"], threshold: float
) -> Float[Tensor, "*b h w"]:
    """Depth where the confidence is above the threshold (strict), 0 elsewhere."""
    return depth * (confidence > threshold)


def check_geometric_consistency(
    ref_depth: Float[Tensor, "h w"],
    ref_intrinsics: Float[Tensor, "3 3"],
    ref_world_to_cam: Float[Tensor, "4 4"],
    src_depths: Float[Tensor, "v hs ws"],
    src_intrinsics: Float[Tensor, "v 3 3"],
    src_world_to_cam: Float[Tensor, "v 4 4"],
    max_reprojection_px: float,
    max_relative_depth: float,
) -> GeometricConsistency:
    """Compare a reference depth map with all its sources, each pixel of it.

    Source depths are sampled bilinearly at the exact position, with constant 0 outside; so a pixel beside an unknown
    one gives a mixed depth, which the limits refuse. Both limits are strict.

    Args:
        ref_depth, src_depths: z-depth, 0 where unknown (never consistent).
        max_reprojection_px: distance of the reprojected pixel, in reference pixels.
        max_relative_depth: |reprojected depth - depth| / depth; at most 1.
    """
    height, width = ref_depth.shape
    sources = SourceViews(ref_intrinsics, ref_world_to_cam, src_depths, src_intrinsics, src_world_to_cam)
    xy, depth = pixel_grid(height, width, ref_depth).reshape(-1, 2), ref_depth.reshape(-1)
    parts = [
        sources.compare(xy_block, depth_block, max_reprojection_px, max_relative_depth)
        for xy_block, depth_block in zip(xy.split(BLOCK), depth.split(BLOCK), strict=True)
    ]
    mask = torch.cat([part[0] for part in parts], dim=1).reshape(-1, height, width)
    returned = torch.cat([part[1] for part in parts], dim=1).reshape(-1, height, width)
    return GeometricConsistency(mask, returned, mask.sum(0))


def average_consistent_depth(
    ref_depth: Float[Tensor, "*n"], reprojected_depth: Float[Tensor, "v *n"], mask: Bool[Tensor, "v *n"]
) -> Float[Tensor, "*n"]:
    """(sum of the consistent reprojected depths + the reference's) / (their number + 1)."""
    return ((reprojected_depth * mask).sum(0) + ref_depth) / (mask.sum(0) + 1)
