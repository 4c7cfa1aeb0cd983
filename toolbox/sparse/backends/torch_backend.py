"""Sparse convolutions in plain PyTorch."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from toolbox.sparse.backends import Backend, blockwise, pairwise
from toolbox.sparse.kernel_map import ConvSpec, KernelMap, kernel_map
from toolbox.sparse.neighbourhoods import Neighbourhoods
from toolbox.sparse.tensor import SparseTensor


class TorchBackend(Backend):
    """Any device, any dtype, forwards and backwards (once)."""

    def convolve(
        self, x: SparseTensor, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec
    ) -> Float[Tensor, "m c_out"]:
        """See ``Backend``."""
        return _Convolve.apply(x.feats, weight, kernel_map(x.family, x.stride, spec, weight.shape[1:]))


def build() -> TorchBackend:
    """The backend."""
    return TorchBackend()


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, feats: Tensor, weight: Tensor, pairs: KernelMap | Neighbourhoods
    ) -> Tensor:
        ctx.save_for_backward(feats, weight)
        ctx.pairs, ctx.way = pairs, blockwise if isinstance(pairs, Neighbourhoods) else pairwise
        return ctx.way.convolve(feats, weight, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, weight = ctx.saved_tensors
        return *ctx.way.gradients(feats, weight, grad.contiguous(), ctx.pairs, ctx.needs_input_grad[:2]), None
