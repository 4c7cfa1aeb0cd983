"""Matrix products on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor


def multiply(a: Float[Tensor, "n k"], b: Float[Tensor, "k m"]) -> Float[Tensor, "n m"]:
    """``a @ b`` without a gradient; in single precision on a CPU by oneDNN.

    PyTorch leaves such products to MKL, which on processors of AMD takes instructions half as wide as there are.
    """
    if a.dtype == b.dtype == torch.float32 and a.device.type == "cpu" and _has_onednn() and a.numel() and b.numel():
        return torch.ops.mkldnn._linear_pointwise(a, b.T, None, "none", [], "")
    return a @ b


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
