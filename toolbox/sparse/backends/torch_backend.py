"""Sparse convolutions with nothing but what the toolbox always needs."""

from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from toolbox.sparse.backends import Backend, blockwise, weightwise
from toolbox.sparse.kernel_map import ConvSpec, KernelMap, kernel_map
from toolbox.sparse.tensor import SparseTensor


class TorchBackend(Backend):
    """Any device, any dtype, forwards and backwards (once)."""

    def convolve(
        self, x: SparseTensor, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec
    ) -> Float[Tensor, "m c_out"]:
        """See ``Backend``."""
        return _Convolve.apply(x.feats, weight, kernel_map(x.family, x.stride, spec))


def build() -> TorchBackend:
    """The backend."""
    return TorchBackend()


def _way(device: torch.device) -> ModuleType:
    """Who computes on a device."""
    return blockwise if device.type == "cpu" else weightwise


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, feats: Tensor, weight: Tensor, meeting: KernelMap) -> Tensor:
        ctx.save_for_backward(feats, weight)
        ctx.meeting, ctx.way = meeting, _way(feats.device)
        return ctx.way.convolve(feats, weight, meeting.pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, weight = ctx.saved_tensors
        return *ctx.way.gradients(feats, weight, grad.contiguous(), ctx.meeting, ctx.needs_input_grad[:2]), None
