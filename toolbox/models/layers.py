"""Convolution, normalisation and activation in one module, in 2D and 3D."""

import torch
from torch import Tensor, nn

from toolbox.errors import UserError

_BATCH_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_CHANNELS_PER_GROUP = 8


def _is_single_cpu_volume(x: Tensor, weight: Tensor) -> bool:
    """Whether PyTorch may send the volume to its slow path, meant for tiny inputs, which takes ten times as long."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return plain and x.shape[0] == 1 and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that is as fast for one volume on a CPU as for several."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, C', D', H', W')."""
        if not _is_single_cpu_volume(x, self.weight):
            return super().forward(x)
        return torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class ConvTranspose3d(nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` that is not slower for one volume on a CPU than for two."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, C', D', H', W')."""
        if not _is_single_cpu_volume(x, self.weight):
            return super().forward(x)
        return super().forward(x.expand(2, -1, -1, -1, -1))[:1]


_CONVS = {2: nn.Conv2d, 3: Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: ConvTranspose3d}


def build_norm(norm: str | None, channels: int, dims: int) -> nn.Module:
    """A normalisation layer: 'batch', 'group' (groups of 8 channels, at least 1 group) or None."""
    if norm is None:
        return nn.Identity()
    if norm == "batch":
        return _BATCH_NORMS[dims](channels)
    if norm == "group":
        return nn.GroupNorm(max(channels // _CHANNELS_PER_GROUP, 1), channels)
    raise UserError(f"norm='{norm}'", "no such normalisation", "Use 'batch', 'group' or None")


class ConvBlock(nn.Module):
    """Convolution (bias only without normalisation), normalisation, then ReLU or LeakyReLU.

    Args:
        dims: 2 or 3.
        transposed: a transposed convolution whose output is exactly ``stride`` times its input.
        negative_slope: of the LeakyReLU; 0 is a ReLU; None is no activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dims: int,
        kernel: int = 3,
        stride: int = 1,
        norm: str | None = "batch",
        negative_slope: float | None = 0.0,
        transposed: bool = False,
    ):
        super().__init__()
        settings = {"stride": stride, "padding": kernel // 2, "bias": norm is None}
        if transposed:
            settings["output_padding"] = stride - 1
        self.conv = (_TRANSPOSED if transposed else _CONVS)[dims](in_channels, out_channels, kernel, **settings)
        # PyTorch's own start shrinks the signal layer by layer: a cost volume of such features is below the
        # normalisation's epsilon, and training only starts once they have grown.
        nn.init.kaiming_normal_(self.conv.weight, a=negative_slope or 0.0, mode="fan_in", nonlinearity="leaky_relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.norm = build_norm(norm, out_channels, dims)
        self.act = nn.Identity() if negative_slope is None else nn.LeakyReLU(negative_slope, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C', ...)."""
        return self.act(self.norm(self.conv(x)))
