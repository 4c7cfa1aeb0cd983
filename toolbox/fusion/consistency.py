"""Forward-backward consistency of depth maps (the geometric filter of the MVSNet family).

A reference pixel at depth d is projected into a source; the source's depth there is lifted and projected back. The
point that comes back lies on the line from the source's centre c through the reference's point X, at c + r (X - c)
with r = (the source's depth) / (the depth of X in the source). So, with u = 1 - r and q = K c the centre in the
reference's pixels,

    depth that comes back  = d + u (c_z - d)
    pixel displacement     = u (q_xy - xy c_z) / (depth that comes back)

exactly; no second projection is needed, and nothing cancels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolbox.geometry import pixel_grid, relative_projection

from .sampling import sample_bilinear

# Pixels compared at a time: with ten sources a block's arrays stay in a core's cache; a GPU wants many.
_BLOCKS = {"cpu": 8192}
_BLOCK_ELSEWHERE = 2**18


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


@dataclass(frozen=True)
class Samples:
    """Pixels of a reference in its sources. They live in work space: the next block of pixels overwrites them.

    Attributes:
        x, y: positions in the source, in pixels; far outside for points behind it.
        inverse_z: 1 / (depth of the point in the source); a huge number behind it.
        seen: depth in the source's map there: bilinear at the exact position, 0 outside.
        spare: more work space.
    """

    x: Float[Tensor, "v n"]
    y: Float[Tensor, "v n"]
    inverse_z: Float[Tensor, "v n"]
    seen: Float[Tensor, "v n"]
    spare: Float[Tensor, "v n"]


class SourceViews:
    """Source depth maps as one reference sees them: what is constant over its pixels, and work space.

    Args:
        ref_intrinsics, ref_world_to_cam: of the reference.
        src_depths: 0 where unknown; of any sizes.
        src_intrinsics, src_world_to_cam: of the sources.
    """

    def __init__(
        self,
        ref_intrinsics: Float[Tensor, "3 3"],
        ref_world_to_cam: Float[Tensor, "4 4"],
        src_depths: Sequence[Float[Tensor, "_ _"]],
        src_intrinsics: Float[Tensor, "v 3 3"],
        src_world_to_cam: Float[Tensor, "v 4 4"],
    ):
        count, dtype = len(src_depths), src_depths[0].dtype
        reference = (ref_intrinsics.double().expand(count, 3, 3), ref_world_to_cam.double().expand(count, 4, 4))
        source = (src_intrinsics.double(), src_world_to_cam.double())
        matrix, offset = relative_projection(*reference, *source)
        self.depths = src_depths
        # z_src (x, y, 1) = projection (x d, y d, d, 1); a row is (v, 1) for each of the four.
        self.projection = torch.cat((matrix, offset[..., None]), dim=-1).to(dtype)[..., None].permute(1, 2, 0, 3)
        _, centres = relative_projection(*source, *reference)
        self.centres = centres.T[..., None]  # in the reference's frame, times its intrinsics; float64
        self.block = _BLOCKS.get(matrix.device.type, _BLOCK_ELSEWHERE)
        self._space = torch.empty(5, count, self.block, dtype=dtype, device=matrix.device)

    def sample(self, x: Float[Tensor, " n"], y: Float[Tensor, " n"], depth: Float[Tensor, " n"]) -> Samples:
        """Project at most ``block`` reference pixels at their depths into the sources."""
        x_src, y_src, z_src, seen, spare = self._space[..., : len(depth)]
        across, down = x * depth, y * depth
        for target, (by_x, by_y, by_1, offset) in zip((x_src, y_src, z_src), self.projection, strict=True):
            torch.mul(across, by_x, out=target).addcmul_(by_y, down).addcmul_(by_1, depth).add_(offset)
        inverse = z_src.clamp_min_(1e-12).reciprocal_()
        x_src.mul_(inverse)
        y_src.mul_(inverse)
        for i, depths in enumerate(self.depths):
            sample_bilinear(depths, x_src[i], y_src[i], out=seen[i])
        return Samples(x_src, y_src, inverse, seen, spare)

    def compare(
        self,
        x: Float[Tensor, " n"],
        y: Float[Tensor, " n"],
        depth: Float[Tensor, " n"],
        max_reprojection_px: float,
        max_relative_depth: float,
    ) -> Iterator[tuple[Float[Tensor, "v m"], Float[Tensor, "v m"]]]:
        """Which sources agree with reference pixels at their depths, and what they add to these depths.

        Yields:
            For one block of pixels after another 1 where the source agrees within both limits and 0 elsewhere, and
            (depth that comes back) - (depth). They live in work space: the next block overwrites them.
        """
        centre_x, centre_y, centre_z = self.centres / max_reprojection_px  # displacements are measured in the limit
        # |centre_xy - xy centre_z|^2 = ends (x^2 + y^2, x, y, 1)
        ends = (centre_z**2, -2 * centre_z * centre_x, -2 * centre_z * centre_y, centre_x**2 + centre_y**2)
        by_square, by_x, by_y, by_1 = (end.to(depth.dtype) for end in ends)
        source_z = self.centres[2].to(depth.dtype)
        for x_block, y_block, d in zip(*(values.split(self.block) for values in (x, y, depth)), strict=True):
            found = self.sample(x_block, y_block, d)
            mask = torch.gt(found.seen, 0, out=found.spare)
            change = found.seen.mul_(found.inverse_z).sub_(1)
            shift = torch.sub(d, source_z, out=found.x).mul_(change)
            # With limits of at most 1 this also refuses points that come back behind the reference.
            mask.mul_(torch.lt(torch.abs(shift, out=found.y), d * max_relative_depth, out=found.y))
            square = torch.mul(x_block.square().addcmul_(y_block, y_block), by_square, out=found.y)
            square.addcmul_(by_x, x_block).addcmul_(by_y, y_block).add_(by_1)
            displacement = square.mul_(change.square_())
            returned = torch.add(shift, d, out=change)
            mask.mul_(torch.lt(displacement, returned.square_(), out=displacement))
            yield mask, shift

    def agreement(
        self,
        x: Float[Tensor, " n"],
        y: Float[Tensor, " n"],
        depth: Float[Tensor, " n"],
        max_reprojection_px: float,
        max_relative_depth: float,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Number of sources that agree with each pixel, and its depth averaged over them and itself."""
        count, average = torch.empty_like(depth), torch.empty_like(depth)
        blocks = self.compare(x, y, depth, max_reprojection_px, max_relative_depth)
        for n, total, (mask, shift) in zip(count.split(self.block), average.split(self.block), blocks, strict=True):
            torch.sum(mask, 0, out=n)
            torch.sum(shift.mul_(mask), 0, out=total)
        return count, average.div_(count + 1).add_(depth)


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
    sources = SourceViews(ref_intrinsics, ref_world_to_cam, src_depths.unbind(0), src_intrinsics, src_world_to_cam)
    x, y = pixel_grid(*ref_depth.shape, like=ref_depth).reshape(-1, 2).T.contiguous()
    blocks = sources.compare(x, y, ref_depth.reshape(-1), max_reprojection_px, max_relative_depth)
    masks, shifts = zip(*((mask > 0, shift.clone()) for mask, shift in blocks), strict=True)
    mask, shift = (torch.cat(parts, dim=1).unflatten(1, ref_depth.shape) for parts in (masks, shifts))
    return GeometricConsistency(mask, shift.add_(ref_depth), mask.sum(0))


def average_consistent_depth(
    ref_depth: Float[Tensor, "*n"], reprojected_depth: Float[Tensor, "v *n"], mask: Bool[Tensor, "v *n"]
) -> Float[Tensor, "*n"]:
    """(sum of the consistent reprojected depths + the reference's) / (their number + 1)."""
    return ((reprojected_depth * mask).sum(0) + ref_depth) / (mask.sum(0) + 1)
