"""Sparse convolutions by torchsparse 2.1 (TorchSparse++), on NVIDIA GPUs. Not proven here: written after its API."""

from typing import Any

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from toolbox.errors import UserError
from toolbox.sparse.kernel_map import ConvSpec

from .library import LibraryBackend


class TorchsparseBackend(LibraryBackend):
    """Calls ``torchsparse.nn.functional.conv3d``; the layout of the weights is the same."""

    name = "torchsparse"

    def __init__(self, library: Any, functional: Any, fapply: Any):
        self._library, self._functional, self._fapply = library, functional, fapply

    def check(self, spec: ConvSpec) -> None:
        """Dilation is accepted by the library's layers, but does not reach its search for neighbours."""
        if spec.dilation != 1:
            raise UserError(
                "sparse backend 'torchsparse'",
                f"dilation {spec.dilation}: torchsparse 2.1 has no dilated convolutions",
                "Use the backend 'torch' or 'spconv' for this layer",
            )

    def wrap(
        self, feats: Float[Tensor, "n c"], grid: Int32[Tensor, "n 4"], stride: int, extent: list[int], batch_size: int
    ) -> Any:
        """See ``LibraryBackend``."""
        return self._library.SparseTensor(feats=feats, coords=grid.contiguous(), stride=stride)

    def with_feats(self, tensor: Any, feats: Float[Tensor, "n c"]) -> Any:
        """See ``LibraryBackend``."""
        return self._fapply(tensor, lambda _: feats)

    def unwrap(self, tensor: Any) -> tuple[Float[Tensor, "n c"], Int32[Tensor, "n 4"]]:
        """See ``LibraryBackend``."""
        return tensor.feats, tensor.coords.int()

    def run(self, tensor: Any, weight: Float[Tensor, "k c_in c_out"], spec: ConvSpec, stride: int) -> Any:
        """See ``LibraryBackend``."""
        training = torch.is_grad_enabled()
        default = self._functional.conv_config.get_default_conv_config(training=training)
        config = type(default)(default.items())
        # With these the order of weights is that of ConvSpec, and coarser voxels are those that hold finer ones.
        config.kmap_mode = "hashmap"
        config.downsample_mode = "minkowski"
        return self._functional.conv3d(
            tensor,
            weight.contiguous(),
            spec.kernel_size,
            stride=spec.stride,
            config=config,
            transposed=spec.transposed,
            training=training,
        )


def build() -> TorchsparseBackend:
    """The backend; raises ImportError where the library is missing, UserError where it is too old."""
    import torchsparse
    from torchsparse.nn import functional
    from torchsparse.nn.utils import fapply

    if not torchsparse.__version__.startswith("2."):
        raise UserError(
            "sparse backend 'torchsparse'",
            f"torchsparse {torchsparse.__version__} is installed, and 2.1 is needed",
            "Install torchsparse 2.1, or use the backend 'torch'",
        )
    return TorchsparseBackend(torchsparse, functional, fapply)
