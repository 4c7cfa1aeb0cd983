"""Disparity consistency of depth maps (the fusion of fusibile): points of agreeing views are averaged."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from toolbox.geometry import camera_centre, invert_rigid

from .consistency import SourceViews
from .sampling import sample_nearest


class DisparityFusion:
    """Source views as one reference sees them.

    With X the point of a reference pixel, z its depth in source i and s that source's depth map where X falls, the
    source agrees when f_ref |C_ref - C_i| |1/z - 1/s| is under the threshold (pixels). Its own point, at depth s, is
    then averaged with X, and its colour with the reference's.

    Args:
        ref_intrinsics, ref_world_to_cam: of the reference.
        src_depths: 0 where unknown; of any sizes.
        src_images: RGB of the sources, of the same sizes.
        src_intrinsics, src_world_to_cam: of the sources.
        threshold: in pixels (strict).
        floor_pixel: a source's own point lies on the ray of the next lower integer pixel, as published, and not of the
            position itself.
    """

    def __init__(
        self,
        ref_intrinsics: Float[Tensor, "3 3"],
        ref_world_to_cam: Float[Tensor, "4 4"],
        src_depths: Sequence[Float[Tensor, "_ _"]],
        src_images: Sequence[UInt8[Tensor, "_ _ 3"]],
        src_intrinsics: Float[Tensor, "v 3 3"],
        src_world_to_cam: Float[Tensor, "v 4 4"],
        threshold: float,
        floor_pixel: bool,
    ):
        self.views = SourceViews(ref_intrinsics, ref_world_to_cam, src_depths, src_intrinsics, src_world_to_cam)
        self.images = src_images
        self.floor_pixel = floor_pixel
        dtype, device = src_depths[0].dtype, src_depths[0].device
        reference = ref_world_to_cam.double()
        # Points are taken in the world's axes from the reference's centre, where float32 has digits to spare.
        self.ref_rays = (reference[:3, :3].T @ torch.linalg.inv(ref_intrinsics.double())).to(dtype)
        centres = camera_centre(src_world_to_cam.double()) - camera_centre(reference)
        rotations = invert_rigid(src_world_to_cam.double())[:, :3, :3]
        rays = rotations @ torch.linalg.inv(src_intrinsics.double())
        # A source's own point = rays (u s, v s, s) + centre.
        self.src_points = torch.cat((rays, centres[..., None]), dim=-1).permute(1, 2, 0).flatten(1).to(dtype)
        baselines = torch.linalg.vector_norm(centres, dim=1, keepdim=True)
        self.limits = (threshold / (ref_intrinsics[0, 0].double() * baselines)).to(dtype)
        ends = torch.tensor([(depth.shape[1] - 1, depth.shape[0] - 1) for depth in src_depths], dtype=dtype)
        self.ends = ends.T[..., None].to(device)
        self._terms = torch.empty(4, len(src_depths), self.views.block, dtype=dtype, device=device)

    def fuse(
        self, x: Float[Tensor, " n"], y: Float[Tensor, " n"], depth: Float[Tensor, " n"], rgb: UInt8[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"], UInt8[Tensor, "n 3"]]:
        """For each reference pixel the number of agreeing sources, the mean point, and the mean colour.

        Points are in the world's axes, from the reference camera's centre.
        """
        blocks = zip(*(values.split(self.views.block) for values in (x, y, depth, rgb)), strict=True)
        counts, points, colours = zip(*(self._fuse_block(*block) for block in blocks), strict=True)
        return torch.cat(counts), torch.cat(points), torch.cat(colours)

    def _fuse_block(self, x: Tensor, y: Tensor, depth: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.views.sample(x, y, depth)
        by_x, by_y, by_1, agrees = terms = self._terms[..., : len(depth)]
        torch.gt(found.seen, 0, out=agrees)
        inverse_seen = torch.clamp_min(found.seen, 1e-12, out=found.spare).reciprocal_()
        disparity = inverse_seen.sub_(found.inverse_z).abs_()
        agrees.mul_(torch.lt(disparity, self.limits, out=disparity))
        for position, end in zip((found.x, found.y), self.ends, strict=True):
            agrees.mul_(torch.ge(position, 0, out=found.spare)).mul_(torch.le(position, end, out=found.spare))
        # A position that lies on a pixel must not fall to the one below it by rounding.
        offset = 1e-4 if self.floor_pixel else 0.5
        nearest_x = torch.add(found.x, offset, out=found.spare).floor_()
        nearest_y = torch.add(found.y, offset, out=found.inverse_z).floor_()
        own_x, own_y = (nearest_x, nearest_y) if self.floor_pixel else (found.x, found.y)
        torch.mul(agrees, found.seen, out=by_1)
        torch.mul(by_1, own_x, out=by_x)
        torch.mul(by_1, own_y, out=by_y)
        number = agrees.sum(0) + 1
        mine = self.ref_rays @ torch.stack((x * depth, y * depth, depth))
        point = mine.addmm_(self.src_points, terms.flatten(0, 1)).div_(number).T
        colour = rgb.to(depth.dtype)
        for image, column, row in zip(
            self.images, _outside(nearest_x, agrees), _outside(nearest_y, agrees), strict=True
        ):
            colour += sample_nearest(image, column[None], row[None])[0]
        return number - 1, point, colour.div_(number[:, None]).round().to(torch.uint8)


def _outside(position: Float[Tensor, "v n"], inside: Float[Tensor, "v n"]) -> Float[Tensor, "v n"]:
    """The positions where ``inside`` is 1, and one outside of every image where it is 0, in place."""
    return position.add_(2).mul_(inside).sub_(2)
