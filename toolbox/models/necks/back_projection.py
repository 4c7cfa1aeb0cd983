"""Image features to voxels: each voxel's centre is projected into the views that see it."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from toolbox.geometry import sample_at_pixels
from toolbox.registry import NECKS


def image_positions(
    points: Float[Tensor, "n 3"], projections: Float[Tensor, "v 3 4"], size: tuple[int, int]
) -> tuple[Float[Tensor, "v n 2"], Float[Tensor, "v n"], Bool[Tensor, "v n"]]:
    """Pixel positions (x, y), depths, and whether a view sees a point: inside of its image, in front of its camera.

    Args:
        points: in the world.
        projections: world to pixels, K [R | t].
        size: (height, width); inside is between the centres of the outermost pixels.
    """
    with torch.autocast(points.device.type, enabled=False):  # half-precision positions would be pixels off
        projected = points @ projections[:, :, :3].transpose(1, 2) + projections[:, None, :, 3]
    depth = projected[..., 2]
    in_front = depth > 0
    xy = projected[..., :2] / torch.where(in_front, depth, torch.ones_like(depth))[..., None]
    height, width = size
    scaled = torch.stack((2 * xy[..., 0] / max(width - 1, 1) - 1, 2 * xy[..., 1] / max(height - 1, 1) - 1))
    return xy, depth, (scaled.abs() <= 1).all(dim=0) & in_front


def count_views(
    points: Float[Tensor, "n 3"], projections: Float[Tensor, "v 3 4"], size: tuple[int, int]
) -> Int64[Tensor, " n"]:
    """How many views see each point."""
    return image_positions(points, projections, size)[2].sum(dim=0)


@NECKS.register_module()
class BackProjection(nn.Module):
    """Features of the voxels of one sample, with the mean depth of each as a channel beside them.

    Args:
        channels: of the image features.
        view_fusion: from NECKS; gets ``channels``.
        chunk_size: voxels that are worked on at a time; while training, what was in between is computed again for the
            gradients, so that memory stays bounded whatever the number of voxels.
        published_depth_norm: divide depths by the length of the vector of all of them and not by their standard
            deviation, as the published NeuralRecon and MonoSelfRecon do.
    """

    def __init__(
        self,
        channels: int,
        view_fusion: dict[str, Any] | None = None,
        chunk_size: int = 32768,
        published_depth_norm: bool = False,
    ):
        super().__init__()
        self.view_fusion = NECKS.build({"type": "MeanViewFusion"} | (view_fusion or {}) | {"channels": channels})
        self.out_channels = self.view_fusion.out_channels + 1
        self.chunk_size = chunk_size
        self.published_depth_norm = published_depth_norm

    def forward(
        self,
        points: Float[Tensor, "n 3"],
        feats: Float[Tensor, "v c h w"],
        projections: Float[Tensor, "v 3 4"],
    ) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]]:
        """Fused features and normalised mean depth of voxels (0 where no view sees one), and the number of views.

        Args:
            points: centres of the voxels in the world.
            feats: of the views.
            projections: world to pixels of the features, K [R | t].
        """
        # At least one chunk, an empty one if need be, so that every weight gets a gradient.
        chunks = points.split(self.chunk_size)
        again = len(chunks) > 1 and torch.is_grad_enabled()
        parts = [
            checkpoint(self._fuse, chunk, feats, projections, use_reentrant=False)
            if again
            else self._fuse(chunk, feats, projections)
            for chunk in chunks
        ]
        fused, depth, count = (torch.cat(column) for column in zip(*parts, strict=True))
        return torch.cat((fused, self._normalised(depth, count)[:, None]), dim=1), count

    def _fuse(
        self, points: Float[Tensor, "n 3"], feats: Float[Tensor, "v c h w"], projections: Float[Tensor, "v 3 4"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"], Int64[Tensor, " n"]]:
        xy, depth, valid = image_positions(points, projections, tuple(feats.shape[-2:]))
        count = valid.sum(dim=0)
        mean_depth = torch.where(valid, depth, 0).sum(dim=0) / count.clamp(min=1)
        seen = count.nonzero()[:, 0]
        sampled = sample_at_pixels(feats.to(xy.dtype), xy[:, None, seen])[:, :, 0].transpose(1, 2)
        fused = self.view_fusion(sampled, valid[:, seen])
        return fused.new_zeros(len(points), fused.shape[1]).index_copy(0, seen, fused), mean_depth, count

    def _normalised(self, depth: Float[Tensor, " n"], count: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        seen = count > 0
        if not bool(seen.any()):
            return torch.zeros_like(depth)
        shifted = depth - depth[seen].mean()
        spread = shifted[seen].norm() if self.published_depth_norm else shifted[seen].std(correction=0)
        return torch.where(seen, shifted / (spread + 1e-5), 0)
