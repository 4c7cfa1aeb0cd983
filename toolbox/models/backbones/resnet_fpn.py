"""ResNet-18 with a feature pyramid up to the image's own resolution (MonoSelfRecon)."""

from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.registry import BACKBONES

from .imagenet import MEAN, STD, load_imagenet_weights, normalize_rgb


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, or beside a 1x1 convolution where the size or the channels change."""

    def __init__(self, before: int, after: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        changes = stride != 1 or before != after
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)) if changes else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + skip)


class ResNet18Encoder(nn.Module):
    """The first half of ResNet-18 (He et al., CVPR 2016): strides 2, 4 and 8. Names of weights are torchvision's.

    Args:
        width: channels of the first convolution and of the first stage; 64 is ResNet-18's, the second stage has twice
            as many.
    """

    UNUSED = ("layer3.", "layer4.", "fc.")

    def __init__(self, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(width, width), BasicBlock(width, width))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width))
        self.out_channels = (width, width, 2 * width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Normalised RGB -> features with strides 2, 4 and 8."""
        first = self.relu(self.bn1(self.conv1(images)))
        block1 = self.layer1(self.maxpool(first))
        return [first, block1, self.layer2(block1)]


@BACKBONES.register_module()
class ResNet18FPN(nn.Module):
    """ResNet-18's strides 8 to 2, merged from coarse to fine into features with strides 4, 2 and 1.

    Args:
        channels: of the finest features; the coarser ones have ``width``.
        weights: ImageNet weights as torchvision publishes them (``resnet18-*.pth``), a file or an address, which a
            training starts from; None starts from random ones.
        width: see ``ResNet18Encoder``.
        published_scale: normalise colours of 0 to 255 with mean and deviation of colours of 0 to 1, as the published
            MonoSelfRecon does.
    """

    finest_stride = 1
    half_pixel = False

    def __init__(
        self,
        channels: int = 32,
        weights: str | Path | None = None,
        width: int = 64,
        published_scale: bool = False,
    ):
        super().__init__()
        self.encoder = ResNet18Encoder(width)
        self.decode2 = nn.Conv2d(2 * width, width, 3, 1, 1, bias=False)
        self.decode1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.decode0 = nn.Conv2d(width, channels, 3, 1, 1, bias=False)
        self.out_channels = (channels, width, width)
        self.encoder_channels = self.encoder.out_channels
        self.colour_scale = 255.0 if published_scale else 1.0
        self.weights = weights

    def init_weights(self) -> None:
        """Load the ImageNet weights, where there are any (mmengine calls it where a training starts).

        Raises:
            UserError: see ``load_imagenet_weights``.
        """
        if self.weights is not None:
            load_imagenet_weights(self.encoder, self.weights, ResNet18Encoder.UNUSED)

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """RGB in [0, 1] -> the encoder's features, strides 2, 4 and 8."""
        return self.encoder(normalize_rgb(images * self.colour_scale, MEAN, STD))

    def decode(
        self, encoded: list[Float[Tensor, "n _ _ _"]], image_size: tuple[int, int]
    ) -> list[Float[Tensor, "n _ _ _"]]:
        """The encoder's features -> features with strides 1, 2 and 4."""
        first, block1, block2 = encoded
        coarse = _enlarge(self.decode2(block2), block1.shape[-2:]) + block1
        middle = _enlarge(self.decode1(coarse), first.shape[-2:]) + first
        return [_enlarge(self.decode0(middle), image_size), middle, coarse]

    def forward(self, images: Float[Tensor, "n 3 h w"], num_levels: int = 3) -> list[Float[Tensor, "n _ _ _"]]:
        """RGB in [0, 1] -> features with strides 1, 2 and 4.

        Raises:
            UserError: other than three levels are asked for.
        """
        require_three_levels(self, num_levels)
        return self.decode(self.encode(images), tuple(images.shape[-2:]))


def require_three_levels(backbone: nn.Module, num_levels: int) -> None:
    """Raise UserError for any other number of levels."""
    if num_levels != 3:
        raise UserError(f"num_levels={num_levels}", f"{type(backbone).__name__} has three levels", "Set num_levels=3")


def _enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="nearest")
