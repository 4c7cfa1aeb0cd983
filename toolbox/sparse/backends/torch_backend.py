"""Sparse convolutions in plain PyTorch: gather rows, multiply by weight, sum by output voxel.

Every pair of voxels that meet under a weight is one row of a product; the rows of an output voxel are summed by one
reduction, so that no two threads add to one place and results do not depend on their order.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from toolbox.sparse.backends import Backend
from toolbox.sparse.kernel_map import ConvSpec, KernelMap, kernel_map
from toolbox.sparse.row_sums import sum_rows
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


def _multiply_and_sum(
    feats: Float[Tensor, "n c_in"], weight: Float[Tensor, "k c_in c_out"], pairs: KernelMap
) -> Float[Tensor, "m c_out"]:
    products = feats.new_empty(len(pairs.source.rows), weight.shape[2])
    for batch in pairs.batches:
        gathered = feats.index_select(0, pairs.source.rows[batch.slots])
        product = products[batch.slots]
        if batch.last - batch.first == 1:
            torch.mm(gathered, weight[batch.first], out=product)
        else:
            shape = (batch.last - batch.first, batch.width)
            torch.bmm(
                gathered.view(*shape, gathered.shape[1]),
                weight[batch.first : batch.last],
                out=product.view(*shape, product.shape[1]),
            )
    return sum_rows(products, *pairs.target.slots_by_row)


def _weight_gradient(
    feats: Float[Tensor, "n c_in"], grad: Float[Tensor, "m c_out"], pairs: KernelMap, num_weights: int
) -> Float[Tensor, "k c_in c_out"]:
    out = feats.new_zeros(num_weights, feats.shape[1], grad.shape[1])
    for batch in pairs.batches:
        before = feats.index_select(0, pairs.source.rows[batch.slots])
        after = grad.index_select(0, pairs.target.rows[batch.slots])
        if batch.last - batch.first == 1:
            torch.mm(before.T, after, out=out[batch.first])
            continue
        if batch.empty is not None:
            before.index_fill_(0, batch.empty, 0)
        shape = (batch.last - batch.first, batch.width)
        torch.bmm(
            before.view(*shape, before.shape[1]).transpose(1, 2),
            after.view(*shape, after.shape[1]),
            out=out[batch.first : batch.last],
        )
    return out


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, feats: Tensor, weight: Tensor, pairs: KernelMap) -> Tensor:
        ctx.save_for_backward(feats, weight)
        ctx.pairs = pairs
        return _multiply_and_sum(feats, weight, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, weight = ctx.saved_tensors
        needs_feats, needs_weight, _ = ctx.needs_input_grad
        grad_feats = _multiply_and_sum(grad, weight.transpose(1, 2), ctx.pairs.transposed()) if needs_feats else None
        grad_weight = _weight_gradient(feats, grad, ctx.pairs, weight.shape[0]) if needs_weight else None
        return grad_feats, grad_weight, None
