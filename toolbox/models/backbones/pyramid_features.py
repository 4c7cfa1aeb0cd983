"""Features of an image pyramid: the same convolutions on every scale (CVP-MVSNet, section 3.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.models.layers import ConvBlock, uses_statistics
from toolbox.models.strips import filtered_in_strips, filtered_strips
from toolbox.registry import BACKBONES


@BACKBONES.register_module()
class PyramidFeatures(nn.Module):
    """CVP-MVSNet's feature pyramid: 3x3 convolutions with LeakyReLU, shared by all scales of the image pyramid.

    Args:
        channels: of each convolution's output; the paper's by default.
        norm: 'batch', 'group' or None (the paper's).
        negative_slope: of the LeakyReLU after every convolution.
    """

    finest_stride = 1
    half_pixel = True

    def __init__(
        self,
        channels: Sequence[int] = (64, 64, 64, 32, 32, 32, 16, 16, 16),
        norm: str | None = None,
        negative_slope: float = 0.1,
    ):
        super().__init__()
        self.convs = nn.ModuleList(
            ConvBlock(before, after, dims=2, norm=norm, negative_slope=negative_slope)
            for before, after in zip((3, *channels[:-1]), channels, strict=True)
        )
        self.norm, self.out_channels, self.most_channels = norm, channels[-1], max(channels)

    def forward(self, images: Float[Tensor, "n 3 h w"], num_levels: int) -> list[Float[Tensor, "n c _ _"]]:
        """RGB in [0, 1] -> features of ``num_levels`` scales, finest first; each scale halves the one before."""
        pyramid = []
        image = images.contiguous(memory_format=torch.channels_last)
        for level in range(num_levels):
            if level:
                image = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
            pyramid.append(self._features(image))
        return pyramid

    def _features(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h w"]:
        """Of one scale."""
        if torch.is_grad_enabled() or uses_statistics(self.norm, self.training):
            for conv in self.convs:
                image = conv(image)
            return image
        number, height, width = len(image), *image.shape[-2:]
        strips = filtered_strips(height, number * width * self.most_channels, image.device)
        return filtered_in_strips(self.convs, lambda rows: image[..., rows, :], strips, height)
