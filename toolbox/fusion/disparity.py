"""Disparity consistency of depth maps (the fusion of fusibile): points of agreeing views are averaged."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from toolbox.geometry import camera_centre, invert_rigid

from .consistency import BLOCK, SourceViews


class DisparityFusion:
    """Source views as one reference sees them.

    With X the point of a reference pixel, z its depth in source i and s that source's depth map where X falls, the
    source agrees when f_ref |C_ref - C_i| |1/z - 1/s| is under the threshold (pixels). Its own point, at depth s, is
    then averaged with X, and its colour with the reference's.

    Args:
        ref_intrinsics, ref_world_to_cam: of the reference.
        src_depths: 0 where unknown.
        src_images: RGB of the sources.
        src_intrinsics, src_world_to_cam: of the sources.
        threshold: in pixels (strict).
        floor_pixel: a source's own point lies on the ray of the next lower integer pixel, as published, and not of the
            position itself.
    """

    def __init__(
        self,
        ref_intrinsics: Float[Tensor, "3 3"],
        ref_world_to_cam: Float[Tensor, "4 4"],
        src_depths: Float[Tensor, "v hs ws"],
        src_images: UInt8[Tensor, "v hs ws 3"],
        src_intrinsics: Float[Tensor, "v 3 3"],
        src_world_to_cam: Float[Tensor, "v 4 4"],
        threshold: float,
        floor_pixel: bool,
    ):
        self.views = SourceViews(ref_intrinsics, ref_world_to_cam, src_depths, src_intrinsics, src_world_to_cam)
        self.images = src_images.flatten(1, 2)
        self.width = src_depths.shape[2]
        self.threshold, self.floor_pixel = threshold, floor_pixel
        dtype = src_depths.dtype
        reference = ref_world_to_cam.double()
        centres = camera_centre(src_world_to_cam.double()) - camera_centre(reference)
        # Points are taken in the world's axes from the reference's centre, where float32 has digits to spare.
        self.ref_rays = (reference[:3, :3].T @ torch.linalg.inv(ref_intrinsics.double())).to(dtype)
        rotations = invert_rigid(src_world_to_cam.double())[:, :3, :3]
        self.src_rays = (rotations @ torch.linalg.inv(src_intrinsics.double())).to(dtype)
        self.src_centres = centres.to(dtype)
        self.scale = (ref_intrinsics[0, 0].double() * torch.linalg.vector_norm(centres, dim=1)).to(dtype)

    def fuse(
        self, xy: Float[Tensor, "n 2"], depth: Float[Tensor, " n"], rgb: UInt8[Tensor, "n 3"]
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 3"], UInt8[Tensor, "n 3"]]:
        """For each reference pixel the number of agreeing sources, the mean point, and the mean colour.

        Points are in the world's axes, from the reference camera's centre.
        """
        blocks = zip(xy.split(BLOCK), depth.split(BLOCK), rgb.split(BLOCK), strict=True)
        counts, points, colours = zip(*(self._fuse_block(*block) for block in blocks), strict=True)
        return torch.cat(counts), torch.cat(points), torch.cat(colours)

    def _fuse_block(self, xy: Tensor, depth: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position, z, seen = self.views.sample(xy, depth)
        disparity = self.scale[:, None] * (1 / z - 1 / seen.clamp_min(1e-12)).abs()
        agrees = (disparity < self.threshold) & (seen > 0) & (position.abs() <= 1).all(-1)
        count = agrees.sum(0)
        pixel = (position + 1) * (0.5 * self.views.extent.to(position.dtype))
        pixel = torch.where(agrees[..., None], pixel, torch.zeros_like(pixel))
        # A position that lies on a pixel must not fall to the one below it by rounding.
        lower = torch.floor(pixel + 1e-4)
        own = lower if self.floor_pixel else pixel
        own = torch.cat((own, torch.ones_like(own[..., :1])), dim=-1) * seen[..., None]
        own = own @ self.src_rays.transpose(1, 2) + self.src_centres[:, None]
        mine = torch.cat((xy, torch.ones_like(xy[:, :1])), dim=-1) * depth[:, None] @ self.ref_rays.T
        point = (mine + (own * agrees[..., None]).sum(0)) / (count + 1)[:, None]
        nearest = lower if self.floor_pixel else torch.floor(pixel + 0.5)
        index = (nearest[..., 1] * self.width + nearest[..., 0]).long()
        colour = torch.stack([image[i] for image, i in zip(self.images, index, strict=True)]).to(depth.dtype)
        colour = (rgb.to(depth.dtype) + (colour * agrees[..., None]).sum(0)) / (count + 1)[:, None]
        return count, point, colour.round().to(torch.uint8)
