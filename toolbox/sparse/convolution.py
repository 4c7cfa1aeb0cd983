"""Sparse convolution."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.errors import UserError

from .backends import Backend, get_backend
from .kernel_map import ConvSpec
from .tensor import SparseTensor


def conv3d(
    x: SparseTensor,
    weight: Float[Tensor, "k c_in c_out"] | Float[Tensor, "c_in c_out"],
    spec: ConvSpec,
    bias: Float[Tensor, " c_out"] | None = None,
    backend: Backend | None = None,
) -> SparseTensor:
    """``out[q] = bias + sum_k x[q + offset_k] @ weight[k]`` at the output's voxels q; absent voxels count as 0.

    The output's voxels are the input's (stride 1); those of the coarser grid that hold a voxel of the input
    (stride > 1); or those that the coarser grid was made from (transposed, ``out[q + offset_k] += x[q] @ weight[k]``).
    Under autocast it is computed in autocast's precision.

    Args:
        weight: in the order of ``spec.offsets()``; without the first axis for a kernel of size 1.
        backend: the default one (``get_backend``) if None.
    """
    feats, kind = x.feats, x.feats.device.type
    if torch.is_autocast_enabled(kind):
        feats, weight = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (feats, weight))
    if spec.volume == 1 and spec.stride == 1:
        out = x.replace(feats @ weight.reshape(weight.shape[-2:]))
    else:
        weight = weight.reshape(spec.volume, *weight.shape[-2:])
        stride = _output_stride(x, spec)
        out = x.at_stride(stride, (backend or get_backend()).convolve(x.replace(feats), weight, spec))
    return out if bias is None else out.replace(out.feats + bias.to(out.feats.dtype))


def _output_stride(x: SparseTensor, spec: ConvSpec) -> int:
    """The output's stride; its voxels are in the family afterwards."""
    if spec.transposed:
        return x.family.finer(x.stride, spec.stride).stride
    if spec.stride == 1:
        return x.stride
    return x.family.coarser(x.stride, spec.stride).stride


class Conv3d(nn.Module):
    """A sparse convolution: submanifold (stride 1), strided, or transposed.

    ``weight`` is (k, in, out) in the order of ``ConvSpec.offsets``, (in, out) for a kernel of size 1: the layout of
    MinkowskiEngine and torchsparse, for every backend. It starts uniform within +-1/sqrt(in k) (out k if transposed).

    Args:
        kernel_size: edge of the kernel. An odd one is centred on the voxel; an even one begins at the voxel, so that a
            kernel of 2 with stride 2 covers just the 8 voxels of a coarser one.
        stride: how much coarser the output is (finer, if transposed).
        dilation: distance of the kernel's cells.
        transposed: back to the voxels that a strided convolution or pooling came from.
        backend: 'torch', 'torchsparse' or 'spconv'; None takes TOOLBOX_SPARSE_BACKEND, or else 'torch'.

    Raises:
        UserError: a size that is not positive; a backend that is not there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        transposed: bool = False,
        backend: str | None = None,
    ):
        super().__init__()
        if min(in_channels, out_channels, kernel_size, stride, dilation) < 1:
            sizes = f"in_channels={in_channels}, out_channels={out_channels}, kernel_size={kernel_size}, "
            raise UserError(
                "sparse Conv3d", f"{sizes}stride={stride}, dilation={dilation} are not all positive", "Use 1 or more"
            )
        self.spec = ConvSpec(kernel_size, stride, dilation, transposed)
        self.backend = get_backend(backend)
        shape = (in_channels, out_channels) if kernel_size == 1 else (self.spec.volume, in_channels, out_channels)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias anew."""
        incoming, outgoing = self.weight.shape[-2:]
        bound = 1 / math.sqrt((outgoing if self.spec.transposed else incoming) * self.spec.volume)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """See ``conv3d``."""
        return conv3d(x, self.weight, self.spec, self.bias, self.backend)

    def extra_repr(self) -> str:
        """Channels and geometry."""
        incoming, outgoing = self.weight.shape[-2:]
        return f"{incoming}, {outgoing}, {self.spec}, bias={self.bias is not None}"
