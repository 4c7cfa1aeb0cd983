"""Novel views from a multiplane image, its scale calibrated by the volume (MonoSelfRecon's NeRF branch)."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.geometry import (
    composite_depth,
    composite_weights,
    invert_rigid,
    plane_points,
    project_pairs,
    scale_intrinsics,
    warp_planes,
)
from toolbox.models.losses.multi_level import images_at_level
from toolbox.registry import HEADS
from toolbox.structures import FragmentBatch, RenderedPair, RenderedView, VolumetricPrediction

from .mpi_decoder import MPIDecoder

# Depth of what no plane of a novel view stops, in the planes' scale.
_NOVEL_BACKGROUND = 1000.0
_MIN_PLANES_SEEN = 2


def calibrated_scale(view: RenderedView) -> Float[Tensor, " b"]:
    """exp mean (log disparity of the planes + log depth of the surface), over each sample's points; 1 without any."""
    ratios = view.disparity_at_points().log() + view.point_depth.log()
    zeros = ratios.new_zeros(len(view.image))
    total = zeros.index_add(0, view.point_sample, ratios)
    count = zeros.index_add(0, view.point_sample, torch.ones_like(ratios))
    return (total / count.clamp(min=1)).exp()


def render_pair(
    planes: Float[Tensor, "b d 4 h w"],
    disparities: Float[Tensor, "b d"],
    images: Float[Tensor, "b 2 3 h w"],
    intrinsics: Float[Tensor, "b 2 3 3"],
    world_to_cam: Float[Tensor, "b 2 4 4"],
    points: Sequence[tuple[Int64[Tensor, " _"], Int64[Tensor, "_ 2"], Float[Tensor, " _"]]],
) -> RenderedPair:
    """The source's planes rendered in the source and in the target view.

    What a plane shows of the source is the source's own colour as far as light reaches the plane. The baseline is
    divided by the planes' scale, which the volume's surface gives; no gradient passes there.

    Args:
        planes: colour and density, from near to far.
        images, intrinsics, world_to_cam: of source and target.
        points: sample, pixel and depth of the volume's surface, in the source and in the target.
    """
    colours, density, size = planes[:, :, :3], planes[:, :, 3], (planes.shape[-2], planes.shape[-1])
    corners = plane_points(disparities, intrinsics[:, 0], size)
    reaching, weights = composite_weights(density, corners)
    blend = reaching[:, :, None]
    colours = blend * images[:, :1] + (1 - blend) * colours
    source = RenderedView(
        images[:, 0],
        (weights[:, :, None] * colours).sum(dim=1),
        1 / composite_depth(weights, corners[..., 2]),
        torch.ones_like(images[:, 0, 0], dtype=torch.bool),
        *points[0],
    )
    scale = calibrated_scale(source)
    source_to_target = world_to_cam[:, 1] @ invert_rigid(world_to_cam[:, 0])
    source_to_target[:, :3, 3] /= scale.detach()[:, None]
    visible = torch.cat((colours, density[:, :, None]), dim=2)
    warped, corners, seen = warp_planes(visible, disparities, intrinsics[:, 0], intrinsics[:, 1], source_to_target)
    density = torch.where(corners[..., 2] >= 0, warped[:, :, 3], torch.zeros_like(warped[:, :, 3]))
    _, weights = composite_weights(density, corners)
    target = RenderedView(
        images[:, 1],
        (weights[:, :, None] * warped[:, :, :3]).sum(dim=1),
        1 / composite_depth(weights, corners[..., 2], _NOVEL_BACKGROUND).clamp(min=1e-6),
        seen.sum(dim=1) >= _MIN_PLANES_SEEN,
        *points[1],
    )
    return RenderedPair(source, target, scale)


@HEADS.register_module()
class MPIHead(nn.Module):
    """Predicts the planes of one view of each sample, and renders them there and in a neighbouring view.

    In training the views and the planes' disparities are drawn at random (on the CPU, the same for any device); else
    they are the middle view, the one after it, and the middles of the bins.

    Args:
        encoder_channels: given by the reconstructor.
        num_planes: of the multiplane image: one for each bin of disparity.
        disparity_range: of the nearest and the farthest bin's ends, 1 / depth, in the planes' own scale.
        max_distance: between the numbers of the two views.
        min_depth: of the volume's surface points, in metres.
        sdf_scale: see ``PairLoss``.
        decoder: further settings of ``MPIDecoder``.

    Raises:
        UserError: the disparities do not fall.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        num_planes: int = 32,
        disparity_range: tuple[float, float] = (2.0, 0.3),
        max_distance: int = 3,
        min_depth: float = 0.3,
        sdf_scale: float = 1.0,
        decoder: dict[str, Any] | None = None,
    ):
        super().__init__()
        nearest, farthest = disparity_range
        if not nearest > farthest > 0 or num_planes < 2:
            raise UserError(
                f"MPIHead(num_planes={num_planes}, disparity_range={tuple(disparity_range)})",
                "are no planes from near to far",
                "Take two planes or more, and positive disparities, the larger one first",
            )
        self.decoder = MPIDecoder(encoder_channels, **(decoder or {}))
        self.num_planes, self.disparity_range, self.max_distance = num_planes, (nearest, farthest), max_distance
        self.min_depth, self.sdf_scale = min_depth, sdf_scale

    def forward(self, prediction: VolumetricPrediction, batch: FragmentBatch) -> RenderedPair:
        """The rendered views, for the losses whose names begin with MPI.

        Raises:
            UserError: the fragments have one view.
        """
        samples = torch.arange(len(batch.images))
        chosen = torch.stack([self._views(batch.images.shape[1]) for _ in samples])
        disparities = self.disparities(len(samples)).to(batch.images)
        features = [level[samples, chosen[:, 0]] for level in prediction.image_features]
        outputs = self.decoder(features, disparities)
        planes = outputs[min(outputs)]
        # Disparities, distances and differences of colours need more digits than bfloat16 has.
        with torch.autocast(planes.device.type, enabled=False):
            planes = planes.float() if planes.dtype in (torch.bfloat16, torch.float16) else planes
            size = (planes.shape[-2], planes.shape[-1])
            rows, real = samples[:, None], batch.images.shape[-2:]
            images, intrinsics = batch.images[rows, chosen], batch.intrinsics[rows, chosen]
            scaled = scale_intrinsics(intrinsics, size[1] / real[1], size[0] / real[0])
            images, poses = images_at_level(images, intrinsics, scaled, size), batch.world_to_cam[rows, chosen]
            points = self._surface(prediction, scaled, poses, size)
            return render_pair(planes, disparities.to(planes.dtype), images, scaled, poses, points)

    def disparities(self, samples: int) -> Float[Tensor, "b d"]:
        """One disparity in each bin, from near to far."""
        nearest, farthest = self.disparity_range
        place = torch.rand(samples, self.num_planes) if self.training else torch.full((samples, self.num_planes), 0.5)
        step = (farthest - nearest) / self.num_planes
        return nearest + (torch.arange(self.num_planes) + place) * step

    def _views(self, number: int) -> Int64[Tensor, "2"]:
        """Source and target."""
        if number < 2:
            raise UserError("MPIHead", "has one view and no other to render", "Give fragments of two views or more")
        if not self.training:
            return torch.tensor([number // 2, number // 2 + 1 if number // 2 + 1 < number else number // 2 - 1])
        source = int(torch.randint(number, ()))
        near = [i for i in range(number) if 0 < abs(i - source) <= self.max_distance]
        return torch.tensor([source, near[int(torch.randint(len(near), ()))]])

    def _surface(
        self,
        prediction: VolumetricPrediction,
        intrinsics: Float[Tensor, "b 2 3 3"],
        world_to_cam: Float[Tensor, "b 2 4 4"],
        size: tuple[int, int],
    ) -> list[tuple[Int64[Tensor, " _"], Int64[Tensor, "_ 2"], Float[Tensor, " _"]]]:
        """Sample, pixel and depth of the finest level's surface points, in the source and in the target."""
        volume = prediction.levels[0]
        volume = volume if volume.supervised is None else volume.select(volume.supervised)
        pairs = torch.tensor([[0, 1], [1, 0]], device=volume.tsdf.device)
        found = []
        for sample in range(len(intrinsics)):
            part = volume.of_sample(sample)
            seen = project_pairs(
                part.tsdf * self.sdf_scale,
                part.positions().to(part.tsdf.dtype),
                intrinsics[sample].to(part.tsdf.dtype),
                world_to_cam[sample].to(part.tsdf.dtype),
                pairs,
                size,
                part.tsdf.new_full((2,), self.min_depth),
            )
            for view in range(2):
                pixels, depth = seen.pixels[view][seen.valid[view]], seen.surface[view, :, 2][seen.valid[view]]
                found.append((torch.full_like(depth, sample, dtype=torch.int64), pixels.round().long(), depth))
        return [tuple(map(torch.cat, zip(*found[view::2], strict=True))) for view in range(2)]
