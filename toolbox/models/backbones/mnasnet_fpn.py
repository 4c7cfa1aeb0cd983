"""MnasNet with a feature pyramid (NeuralRecon)."""

from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.registry import BACKBONES

from .imagenet import MEAN, STD, load_imagenet_weights, normalize_rgb
from .resnet_fpn import require_three_levels

_MOMENTUM = 3e-4
_PUBLISHED_MEAN = (103.53, 116.28, 123.675)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=_MOMENTUM)


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, depthwise convolution, 1x1 convolution back; beside the identity if it fits."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = before * expansion
        self.layers = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False),
            _norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False),
            _norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, after, 1, bias=False),
            _norm(after),
        )
        self.skips = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        return self.layers(x) + x if self.skips else self.layers(x)


def _stage(before: int, after: int, kernel: int, expansion: int) -> nn.Sequential:
    """Three blocks, the first of which halves the resolution."""
    return nn.Sequential(
        InvertedResidual(before, after, kernel, 2, expansion),
        InvertedResidual(after, after, kernel, 1, expansion),
        InvertedResidual(after, after, kernel, 1, expansion),
    )


def scaled_depths(alpha: float) -> list[int]:
    """MnasNet's channels (32, 16, 24, 40, 80) times ``alpha``, rounded to multiples of 8, never down by over 10 %."""
    depths = []
    for depth in (32, 16, 24, 40, 80):
        scaled = depth * alpha
        rounded = max(8, int(scaled + 4) // 8 * 8)
        depths.append(rounded if rounded >= 0.9 * scaled else rounded + 8)
    return depths


class MnasNetEncoder(nn.Module):
    """The first half of MnasNet-B1 (Tan et al., CVPR 2019): strides 4, 8 and 16. Names of weights are torchvision's."""

    UNUSED = ("layers.11.", "layers.12.", "layers.13.", "layers.14.", "layers.15.", "classifier.")

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        stem, thin, *stages = scaled_depths(alpha)
        self.layers = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False),
            _norm(stem),
            nn.ReLU(inplace=True),
            nn.Conv2d(stem, stem, 3, 1, 1, groups=stem, bias=False),
            _norm(stem),
            nn.ReLU(inplace=True),
            nn.Conv2d(stem, thin, 1, bias=False),
            _norm(thin),
            _stage(thin, stages[0], 3, 3),
            _stage(stages[0], stages[1], 5, 3),
            _stage(stages[1], stages[2], 5, 6),
        )
        self.out_channels = tuple(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Normalised RGB -> features with strides 4, 8 and 16."""
        fine = self.layers[:9](images)
        middle = self.layers[9](fine)
        return [fine, middle, self.layers[10](middle)]


@BACKBONES.register_module()
class MnasNetFPN(nn.Module):
    """MnasNet's strides 16, 8 and 4, each merged with the coarser ones (Lin et al., CVPR 2017).

    Args:
        alpha: factor of all channels; 1 gives 24, 40 and 80, finest first.
        weights: ImageNet weights as torchvision publishes them (``mnasnet1.0_*.pth``), a file or an address, which a
            training starts from; None starts from random ones.
        published_mean: subtract the mean of blue from red and the other way round, and do not divide by the deviation,
            from colours of 0 to 255, as the published NeuralRecon does.
    """

    finest_stride = 4
    half_pixel = False

    def __init__(self, alpha: float = 1.0, weights: str | Path | None = None, published_mean: bool = False):
        super().__init__()
        self.encoder = MnasNetEncoder(alpha)
        fine, middle, coarse = self.encoder.out_channels
        self.lateral_middle = nn.Conv2d(middle, coarse, 1)
        self.lateral_fine = nn.Conv2d(fine, coarse, 1)
        self.out_coarse = nn.Conv2d(coarse, coarse, 1, bias=False)
        self.out_middle = nn.Conv2d(coarse, middle, 3, 1, 1, bias=False)
        self.out_fine = nn.Conv2d(coarse, fine, 3, 1, 1, bias=False)
        self.out_channels = (fine, middle, coarse)
        self.encoder_channels = self.encoder.out_channels
        self.published_mean = published_mean
        self.weights = weights

    def init_weights(self) -> None:
        """Load the ImageNet weights, where there are any (mmengine calls it where a training starts).

        Raises:
            UserError: see ``load_imagenet_weights``.
        """
        if self.weights is not None:
            load_imagenet_weights(self.encoder, self.weights, MnasNetEncoder.UNUSED)

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """RGB in [0, 1] -> the encoder's features, strides 4, 8 and 16."""
        if self.published_mean:
            return self.encoder(normalize_rgb(images * 255.0, _PUBLISHED_MEAN, (1.0, 1.0, 1.0)))
        return self.encoder(normalize_rgb(images, MEAN, STD))

    def decode(
        self, encoded: list[Float[Tensor, "n _ _ _"]], image_size: tuple[int, int]
    ) -> list[Float[Tensor, "n _ _ _"]]:
        """The encoder's features -> features with the same strides; the image's size is not needed."""
        fine, middle, coarse = encoded
        merged = F.interpolate(coarse, size=middle.shape[-2:], mode="nearest") + self.lateral_middle(middle)
        finest = F.interpolate(merged, size=fine.shape[-2:], mode="nearest") + self.lateral_fine(fine)
        return [self.out_fine(finest), self.out_middle(merged), self.out_coarse(coarse)]

    def forward(self, images: Float[Tensor, "n 3 h w"], num_levels: int = 3) -> list[Float[Tensor, "n _ _ _"]]:
        """RGB in [0, 1] -> features with strides 4, 8 and 16.

        Raises:
            UserError: other than three levels are asked for.
        """
        require_three_levels(self, num_levels)
        return self.decode(self.encode(images), tuple(images.shape[-2:]))
