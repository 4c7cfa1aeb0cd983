"""Cost volume (B, C, D, H, W) -> matching score of every hypothesis (B, D, H, W): 3D encoder-decoders.

A regularizer tells its ``size_divisor``: D, H and W must be divisible by it; and its ``reach``: how many pixels away
the volume still changes a score. One that has ``enter`` and ``finish`` is spared the whole volume in inference.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.models.layers import ConvBlock, ScoreConv3d, uses_statistics
from toolbox.models.strips import filtered_in_strips, filtered_strips, inner_rows
from toolbox.registry import COST_VOLUMES


def _block(before: int, after: int, norm: str | None, stride: int = 1, up: bool = False) -> ConvBlock:
    return ConvBlock(before, after, dims=3, stride=stride, norm=norm, transposed=up)


class _EncoderDecoder(nn.Module):
    """Blocks at full resolution, what is coarser, and back to the full resolution, where scores are taken.

    Args:
        norm: 'batch', 'group' or None.
    """

    def __init__(self, norm: str | None):
        super().__init__()
        self.norm = norm

    @property
    @abstractmethod
    def entry(self) -> Sequence[nn.Module]:
        """Blocks that keep the resolution."""

    @abstractmethod
    def coarse(self, fine: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b k dc hc wc"]:
        """Half the resolution."""

    @property
    @abstractmethod
    def exit(self) -> tuple[nn.Module, nn.Module]:
        """The block back to the full resolution, and the convolution to scores."""

    def forward(self, volume: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b d h w"]:
        """Scores; the softmax over d is the caller's."""
        fine = volume.contiguous(memory_format=torch.channels_last_3d)
        for block in self.entry:
            fine = block(fine)
        up, score = self.exit
        return score(_add(up(self.coarse(fine)), fine))[:, 0]

    def enter(
        self, part: Callable[[slice], Float[Tensor, "b c d _ w"]], size: tuple[int, int, int, int]
    ) -> Float[Tensor, "b c d h w"]:
        """The first part of ``forward`` in inference: the entry, on a volume that is never there as a whole.

        Args:
            part: gives some rows of the volume; is called with overlapping ones.
            size: (B, D, H, W).
        """
        return filtered_in_strips(self.entry, part, self._strips(size, self.exit[1].in_channels), size[2])

    def finish(self, fine: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b d h w"]:
        """The second part of ``forward`` in inference: scores from what the entry gave."""
        up, score = self.exit
        height, coarse = fine.shape[3], self.coarse(fine)

        def summed(area: slice) -> Tensor:
            # A row of the finer grid depends on the coarser one's row that covers it and the next.
            covering = slice(area.start // 2, min(area.stop // 2 + 1, height // 2))
            covered = slice(2 * covering.start, 2 * covering.stop)
            return inner_rows(up(coarse[..., covering, :]), area, covered) + fine[..., area, :]

        strips = self._strips((len(fine), *fine.shape[2:]), fine.shape[1])
        return filtered_in_strips([score], summed, strips, height)[:, 0]

    def _strips(self, size: tuple[int, int, int, int], channels: int) -> Iterator[slice]:
        batch, planes, height, width = size
        if uses_statistics(self.norm, self.training):
            return iter([slice(0, height)])
        return filtered_strips(height, batch * planes * width * channels, self.exit[1].weight.device)


def _add(x: Tensor, skip: Tensor) -> Tensor:
    """The sum; into ``x`` where no gradient needs it: a volume is the largest thing there is."""
    return x + skip if torch.is_grad_enabled() else x.add_(skip)


@COST_VOLUMES.register_module()
class HourglassRegularizer(_EncoderDecoder):
    """CVP-MVSNet's regularizer: one stride-2 stage with skip connections, shared by all pyramid levels.

    Args:
        in_channels: of the cost volume.
        channels: of the three stages; the paper's 16, 32, 64 by default.
        norm: 'batch' (the paper's), 'group' or None.
    """

    size_divisor = 2
    reach = 20

    def __init__(self, in_channels: int, channels: tuple[int, int, int] = (16, 32, 64), norm: str | None = "batch"):
        super().__init__(norm)
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

    @property
    def entry(self) -> Sequence[nn.Module]:
        """Blocks that keep the resolution."""
        return self.conv0, self.conv0a

    def coarse(self, fine: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b k dc hc wc"]:
        """Half the resolution."""
        skip = self.conv2a(self.conv2(self.conv1(fine)))
        deepest = self.conv3, self.conv4, self.conv4a, self.conv5
        if torch.is_grad_enabled():
            return _add(nn.Sequential(*deepest)(skip), skip)
        size = len(skip), *skip.shape[2:]
        strips = self._strips(size, self.conv4.conv.out_channels)
        return _add(filtered_in_strips(deepest, lambda rows: skip[..., rows, :], strips, size[2]), skip)

    @property
    def exit(self) -> tuple[nn.Module, nn.Module]:
        """The block back to the full resolution, and the convolution to scores."""
        return self.conv6, self.prob0


@COST_VOLUMES.register_module()
class UNetRegularizer(_EncoderDecoder):
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
        super().__init__(norm)
        self.stem = _block(in_channels, channels[0], norm)
        self.down = nn.ModuleList(
            nn.Sequential(_block(fine, coarse, norm, stride=2), _block(coarse, coarse, norm))
            for fine, coarse in pairwise(channels)
        )
        self.up = nn.ModuleList(_block(coarse, fine, norm, stride=2, up=True) for fine, coarse in pairwise(channels))
        self.prob = ScoreConv3d(channels[0])

    @property
    def entry(self) -> Sequence[nn.Module]:
        """Blocks that keep the resolution."""
        return (self.stem,)

    def coarse(self, fine: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b k dc hc wc"]:
        """Half the resolution."""
        skips, x = [], fine
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in reversed(self.up[1:]):
            x = _add(up(x), skips.pop())
        return x

    @property
    def exit(self) -> tuple[nn.Module, nn.Module]:
        """The block back to the full resolution, and the convolution to scores."""
        return self.up[0], self.prob
