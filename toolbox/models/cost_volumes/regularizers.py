"""Cost volume (B, C, D, H, W) -> matching score of every hypothesis (B, D, H, W): 3D encoder-decoders.

A regularizer tells its ``size_divisor``: D, H and W must be divisible by it; and its ``reach``: how many pixels away
the volume still changes a score.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.models.layers import ConvBlock, ScoreConv3d
from toolbox.registry import COST_VOLUMES


def _block(before: int, after: int, norm: str | None, stride: int = 1, up: bool = False) -> ConvBlock:
    return ConvBlock(before, after, dims=3, stride=stride, norm=norm, transposed=up)


def _add(x: Tensor, skip: Tensor) -> Tensor:
    """The sum; into ``x`` where no gradient needs it: a volume is the largest thing there is."""
    return x + skip if torch.is_grad_enabled() else x.add_(skip)


@COST_VOLUMES.register_module()
class HourglassRegularizer(nn.Module):
    """CVP-MVSNet's regularizer: one stride-2 stage with skip connections, shared by all pyramid levels.

    Args:
        in_channels: of the cost volume.
        channels: of the three stages; the paper's 16, 32, 64 by default.
        norm: 'batch' (the paper's), 'group' or None.
    """

    size_divisor = 2
    reach = 20

    def __init__(self, in_channels: int, channels: tuple[int, int, int] = (16, 32, 64), norm: str | None = "batch"):
        super().__init__()
        c0, c1, c2 = channels
        self.conv0 = _block(in_channels, c0, norm)
        self.conv0a = _block(c0, c0, norm)
        self.conv1 = _block(c0, c1, norm, stride=2)
        self.conv2 = _block(c1, c1, norm)
        self.conv2a = _block(c1, c1, norm)
        self.conv3 = _block(c1, c2, norm)
        self.conv4 = _block(c2, c2, norm)
        self.conv4a = _block(c2, c2, norm)
        self.conv5 = _block(c2, c1, norm, up=True)
        self.conv6 = _block(c1, c0, norm, stride=2, up=True)
        self.prob0 = ScoreConv3d(c0)

    def forward(self, volume: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b d h w"]:
        """Scores; the softmax over d is the caller's."""
        fine = self.conv0a(self.conv0(volume.contiguous(memory_format=torch.channels_last_3d)))
        coarse = self.conv2a(self.conv2(self.conv1(fine)))
        x = self.conv4a(self.conv4(self.conv3(coarse)))
        x = _add(self.conv5(x), coarse)
        x = _add(self.conv6(x), fine)
        del fine, coarse  # memory is fullest here
        return self.prob0(x)[:, 0]


@COST_VOLUMES.register_module()
class UNetRegularizer(nn.Module):
    """MVSNet's regularizer: a 3D U-Net with three stride-2 stages (Yao et al., ECCV 2018, section 3.3).

    Args:
        in_channels: of the cost volume.
        channels: of the four scales; the paper's 8, 16, 32, 64 by default.
        norm: 'batch' (the paper's), 'group' or None.
    """

    size_divisor = 8
    reach = 48

    def __init__(
        self, in_channels: int, channels: tuple[int, int, int, int] = (8, 16, 32, 64), norm: str | None = "batch"
    ):
        super().__init__()
        self.stem = _block(in_channels, channels[0], norm)
        self.down = nn.ModuleList(
            nn.Sequential(_block(fine, coarse, norm, stride=2), _block(coarse, coarse, norm))
            for fine, coarse in pairwise(channels)
        )
        self.up = nn.ModuleList(_block(coarse, fine, norm, stride=2, up=True) for fine, coarse in pairwise(channels))
        self.prob = ScoreConv3d(channels[0])

    def forward(self, volume: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b d h w"]:
        """Scores; the softmax over d is the caller's."""
        skips = [self.stem(volume.contiguous(memory_format=torch.channels_last_3d))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in reversed(self.up):
            x = _add(up(x), skips.pop())
        return self.prob(x)[:, 0]
