"""The convolution of a single volume on a CPU, backwards too, where PyTorch would take its slow path."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Extent = tuple[int, ...]

# PyTorch's own condition for oneDNN: B C D H of a single volume (its last axis does not count).
ONEDNN_MIN_SIZE = 20480


class SingleVolumeConv3d(torch.autograd.Function):
    """A 3D convolution by oneDNN, whose gradients are oneDNN's as well.

    PyTorch chooses anew for the gradients: of one volume it asks for B C D H above a threshold. Which of the axes is
    the last changes nothing but that: where it has to be another one, it is the shortest.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        padding: Extent,
        stride: Extent,
        dilation: Extent,
        groups: int,
    ) -> Tensor:
        """(B, C, D, H, W) -> (B, C', D', H', W')."""
        ctx.save_for_backward(x, weight)
        ctx.has_bias, ctx.groups, ctx.extent = bias is not None, groups, (stride, padding, dilation)
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the output -> of input, weight and bias."""
        x, weight = ctx.saved_tensors
        enough = math.prod(x.shape[:4]) > ONEDNN_MIN_SIZE
        axes = range(3) if enough else sorted(range(3), key=lambda axis: -x.shape[2 + axis])
        order = (0, 1, *(2 + axis for axis in axes))

        def sorted_axes(values: Tensor) -> Tensor:
            return values.permute(order).contiguous(memory_format=torch.channels_last_3d)

        gradients = torch.ops.aten.convolution_backward(
            sorted_axes(gradient),
            sorted_axes(x),
            sorted_axes(weight),
            [len(weight)] if ctx.has_bias else None,
            *([values[axis] for axis in axes] for values in ctx.extent),
            False,
            [0, 0, 0],
            ctx.groups,
            [*ctx.needs_input_grad[:2], ctx.has_bias],
        )
        back = [order.index(axis) for axis in range(5)]
        volume, kernel = (part if part is None else part.permute(back) for part in gradients[:2])
        return volume, kernel, gradients[2], None, None, None, None
