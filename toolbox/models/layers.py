"""Convolution, normalisation and activation in one module, in 2D and 3D."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolbox.errors import UserError

from . import winograd
from .single_volume import ONEDNN_MIN_SIZE, SingleVolumeConv3d

_BATCH_NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_CHANNELS_PER_GROUP = 8


def _is_single_cpu_volume(x: Tensor) -> bool:
    """Whether PyTorch may send the volume to its slow path, meant for tiny inputs, which takes ten times as long."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    eager = not torch.compiler.is_compiling()  # which knows nothing of oneDNN's own functions
    onednn = torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")
    return plain and eager and onednn and x.shape[0] == 1


def _fused_dtype(x: Tensor) -> torch.dtype | None:
    """The precision in which oneDNN convolves and activates ``x`` in one pass, in inference; None where it does not."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
        return None
    if not all(hasattr(torch.ops.mkldnn, f"_convolution{kind}_pointwise") for kind in ("", "_transpose")):
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if dtype == torch.bfloat16:
        return dtype if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return dtype if dtype == torch.float32 else None


def _fused(conv: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None, negative_slope: float | None) -> Tensor:
    """Convolution and activation without another pass over memory."""
    if x.dtype == torch.float32 and winograd.suits(conv, x):
        if conv.transposed:
            weight = weight.transpose(0, 1).flip(tuple(range(2, weight.ndim)))
        return winograd.convolve(x, weight, bias, negative_slope)
    activation = ("none", []) if negative_slope is None else ("leaky_relu", [negative_slope])
    if negative_slope == 0:
        activation = ("relu", [])
    if conv.transposed:
        extent = conv.padding, conv.output_padding, conv.stride, conv.dilation
        return torch.ops.mkldnn._convolution_transpose_pointwise(
            x, weight, bias, *extent, conv.groups, *activation, None
        )
    extent = conv.padding, conv.stride, conv.dilation
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *extent, conv.groups, *activation, None)


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that is as fast for one volume on a CPU as for several."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, C', D', H', W')."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with other weights of the same shapes."""
        settings = self.stride, self.padding, self.dilation
        if not _is_single_cpu_volume(x):
            return F.conv3d(x, weight, bias, *settings, self.groups)
        return SingleVolumeConv3d.apply(x, weight, bias, self.padding, self.stride, self.dilation, self.groups)


class ScoreConv3d(Conv3d):
    """A ``Conv3d`` with kernel 3 and padding 1 to a single channel.

    oneDNN computes sixteen output channels where one is asked for. In inference on a CPU the nine taps across depth and
    rows are therefore output channels of a convolution along the columns; what they give is shifted and summed.
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, 1, D, H, W)."""
        if x.device.type != "cpu" or torch.is_grad_enabled():
            return super().forward(x)
        taps = self.weight[0].permute(1, 2, 0, 3).reshape(9, -1, 1, 1, 3)
        if _is_single_cpu_volume(x):
            parts = torch.mkldnn_convolution(x, taps, None, (0, 0, 1), (1, 1, 1), (1, 1, 1), 1)
        else:
            parts = F.conv3d(x, taps, padding=(0, 0, 1))
        depth, height = x.shape[2:4]
        total = parts[:, 4] + self.bias.to(parts.dtype)
        for tap in (0, 1, 2, 3, 5, 6, 7, 8):
            (to_d, from_d), (to_h, from_h) = _overlap(tap // 3 - 1, depth), _overlap(tap % 3 - 1, height)
            total[:, to_d, to_h] += parts[:, tap, from_d, from_h]
        return total[:, None]


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Positions i, and i + shift, where both lie in [0, size)."""
    return slice(max(0, -shift), size - max(0, shift)), slice(max(0, shift), size + min(0, shift))


class ConvTranspose3d(nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` that is not slower for one volume on a CPU than for two."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, C', D', H', W')."""
        return self.convolve(x, self.weight, self.bias)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The transposed convolution with other weights of the same shapes."""
        settings = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        if not _is_single_cpu_volume(x) or math.prod(x.shape[:4]) > ONEDNN_MIN_SIZE:
            return F.conv_transpose3d(x, weight, bias, *settings)
        if _fused_dtype(x) is not None:
            return _fused(self, x, weight, bias, None)
        return F.conv_transpose3d(x.expand(2, -1, -1, -1, -1), weight, bias, *settings)[:1]


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that can be called with other weights."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with other weights of the same shapes."""
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` that can be called with other weights."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The transposed convolution with other weights of the same shapes."""
        settings = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return F.conv_transpose2d(x, weight, bias, *settings)


_CONVS = {2: Conv2d, 3: Conv3d}
_TRANSPOSED = {2: ConvTranspose2d, 3: ConvTranspose3d}


def build_norm(norm: str | None, channels: int, dims: int) -> nn.Module:
    """A normalisation layer: 'batch', 'group' (groups of 8 channels, at least 1 group) or None."""
    if norm is None:
        return nn.Identity()
    if norm == "batch":
        return _BATCH_NORMS[dims](channels)
    if norm == "group":
        return nn.GroupNorm(max(channels // _CHANNELS_PER_GROUP, 1), channels)
    raise UserError(f"norm='{norm}'", "no such normalisation", "Use 'batch', 'group' or None")


def uses_statistics(norm: str | None, training: bool) -> bool:
    """Whether the layer of ``build_norm`` makes every result depend on all of the input."""
    return norm == "group" or (norm == "batch" and training)


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
        self.norm, self.negative_slope = build_norm(norm, out_channels, dims), negative_slope
        self.act = nn.Identity() if negative_slope is None else nn.LeakyReLU(negative_slope, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C', ...)."""
        if isinstance(self.norm, nn.Identity):
            weight, bias = self.conv.weight, self.conv.bias
        elif isinstance(self.norm, _BatchNorm) and not self.training:
            weight, bias = self._folded()
        else:
            return self.act(self.norm(self.conv(x)))
        dtype = _fused_dtype(x)
        if dtype is None:
            return self.act(self.conv.convolve(x, weight, bias))
        return _fused(self.conv, x.to(dtype), weight.to(dtype), bias.to(dtype), self.negative_slope)

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution that normalises by the running statistics, too."""
        norm = self.norm
        scale = torch.rsqrt(norm.running_var + norm.eps) * norm.weight
        shape = (1, -1) if self.conv.transposed else (-1, 1)
        weight = self.conv.weight * scale.reshape(*shape, *(1,) * (self.conv.weight.ndim - 2))
        return weight, norm.bias - norm.running_mean * scale
