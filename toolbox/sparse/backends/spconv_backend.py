"""Sparse convolutions by spconv 2, on NVIDIA GPUs. Not proven here: written after its documented API."""

from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.sparse.kernel_map import ConvSpec

from .library import LibraryBackend


class SpconvBackend(LibraryBackend):
    """Calls spconv's layers with our weights, rearranged to its layout (out, x, y, z, in)."""

    name = "spconv"

    def __init__(self, library: Any):
        self._library = library
        self._layers: dict[tuple[int, int, ConvSpec, int], nn.Module] = {}

    def check(self, spec: ConvSpec) -> None:
        """Strided kernels lie elsewhere in the library, unless they are just the voxels of a coarser one."""
        if spec.stride == 1 and spec.kernel_size % 2:
            return
        if spec.kernel_size == spec.stride == 2 and spec.dilation == 1:
            return
        raise UserError(
            "sparse backend 'spconv'",
            f"kernel {spec.kernel_size} with stride {spec.stride} and dilation {spec.dilation}",
            "It does odd kernels with stride 1, and kernels of 2 with stride 2; use the backend 'torch' for others",
        )

    def wrap(
        self, feats: Float[Tensor, "n c"], grid: Int32[Tensor, "n 4"], stride: int, extent: list[int], batch_size: int
    ) -> Any:
        """See ``LibraryBackend``."""
        return self._library.SparseConvTensor(feats, grid.contiguous(), extent, batch_size)

    def with_feats(self, tensor: Any, feats: Float[Tensor, "n c"]) -> Any:
        """See ``LibraryBackend``."""
        return tensor.replace_feature(feats)

    def unwrap(self, tensor: Any) -> tuple[Float[Tensor, "n c"], Int32[Tensor, "n 4"]]:
        """See ``LibraryBackend``."""
        return tensor.features, tensor.indices

    def run(self, tensor: Any, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec, stride: int) -> Any:
        """See ``LibraryBackend``."""
        layer = self._layer(weight.shape[1], weight.shape[2], spec, stride)
        kernel = _to_library_layout(weight, spec.kernel_size)
        if kernel.shape != layer.weight.shape:
            raise UserError(
                "sparse backend 'spconv'",
                f"the library's weights are {tuple(layer.weight.shape)}, and not {tuple(kernel.shape)}",
                "Install spconv 2.2 or newer, or use the backend 'torch'",
            )
        layer.train(torch.is_grad_enabled())
        return torch.func.functional_call(layer, {"weight": kernel.contiguous()}, (tensor,))

    def _layer(self, incoming: int, outgoing: int, spec: ConvSpec, stride: int) -> nn.Module:
        """A layer of the library; its own weights are never used."""
        if (incoming, outgoing, spec, stride) not in self._layers:
            size = spec.kernel_size
            key = f"{stride}, kernel {size}, stride {spec.stride}, dilation {spec.dilation}"
            settings = {"bias": False, "indice_key": key}
            if spec.transposed:
                layer = self._library.SparseInverseConv3d(incoming, outgoing, size, **settings)
            elif spec.stride == 1:
                layer = self._library.SubMConv3d(incoming, outgoing, size, dilation=spec.dilation, **settings)
            else:
                layer = self._library.SparseConv3d(incoming, outgoing, size, stride=spec.stride, **settings)
            self._layers[incoming, outgoing, spec, stride] = layer
        return self._layers[incoming, outgoing, spec, stride]


def _to_library_layout(weight: Float[Tensor, "k c_in c_out"], size: int) -> Float[Tensor, "c_out kx ky kz c_in"]:
    cube = weight.reshape(size, size, size, *weight.shape[1:])
    # Odd kernels are stored with x fastest, even ones with z fastest (ConvSpec.offsets).
    return cube.permute(4, 2, 1, 0, 3) if size % 2 else cube.permute(4, 0, 1, 2, 3)


def build() -> SpconvBackend:
    """The backend; raises ImportError where the library is missing."""
    import spconv.pytorch

    return SpconvBackend(spconv.pytorch)
