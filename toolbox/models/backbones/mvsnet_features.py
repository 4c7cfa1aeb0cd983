"""MVSNet's feature extractor (Yao et al., ECCV 2018, section 3.1): one scale, at a quarter of the resolution."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.models.layers import ConvBlock
from toolbox.registry import BACKBONES


@BACKBONES.register_module()
class MVSNetFeatures(nn.Module):
    """Eight convolutions, two of them with stride 2 and kernel 5; the last one has no normalisation and no activation.

    Args:
        channels: of the full, half and quarter resolution; the paper's 8, 16, 32 by default.
        norm: 'batch' (the paper's), 'group' or None.
    """

    finest_stride = 4
    half_pixel = False

    def __init__(self, channels: tuple[int, int, int] = (8, 16, 32), norm: str | None = "batch"):
        super().__init__()
        full, half, quarter = channels

        def block(before: int, after: int, down: bool = False) -> ConvBlock:
            return ConvBlock(before, after, dims=2, kernel=5 if down else 3, stride=2 if down else 1, norm=norm)

        self.convs = nn.Sequential(
            block(3, full),
            block(full, full),
            block(full, half, down=True),
            block(half, half),
            block(half, half),
            block(half, quarter, down=True),
            block(quarter, quarter),
            nn.Conv2d(quarter, quarter, 3, padding=1),
        )
        self.out_channels = quarter

    def forward(self, images: Float[Tensor, "n 3 h w"], num_levels: int = 1) -> list[Float[Tensor, "n c _ _"]]:
        """RGB in [0, 1] -> features at a quarter of the resolution, as a pyramid of one level."""
        if num_levels != 1:
            raise UserError(
                f"num_levels={num_levels}",
                "MVSNetFeatures has one level",
                "Set num_levels=1, or use a backbone with a pyramid such as PyramidFeatures",
            )
        return [self.convs(images.contiguous(memory_format=torch.channels_last))]
