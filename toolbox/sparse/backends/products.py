"""Matrix products on a CPU.

PyTorch leaves them to MKL, which on processors of AMD takes instructions half as wide as there are; oneDNN does not.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# oneDNN makes a program for every new number of rows, in a quarter of a millisecond: numbers that differ from case to
# case are rounded up to multiples of the first, and of the second where they are above the third.
_FEW, _MANY, _ABOVE = 64, 256, 1024
# Multiplications below which PyTorch's own way is as fast.
_LEAST, _LEAST_TRANSPOSED = 2**21, 2**22


def padded(count: int, device: torch.device) -> int:
    """So many rows, and on a CPU a few more, for which there is a program sooner."""
    if device.type != "cpu":
        return count
    multiple = _FEW if count <= _ABOVE else _MANY
    return -(-count // multiple) * multiple


def multiply(a: Float[Tensor, "n k"], b: Float[Tensor, "k m"]) -> Float[Tensor, "n m"]:
    """``a @ b`` without a gradient; large ones in single precision on a CPU by oneDNN."""
    if len(a) * b.numel() >= _LEAST and _suit_onednn(a, b):
        return torch.ops.mkldnn._linear_pointwise(a, b.T, None, "none", [], "")
    return a @ b


def multiply_transposed(a: Float[Tensor, "n k"], b: Float[Tensor, "n m"]) -> Float[Tensor, "k m"]:
    """``a.T @ b`` without a gradient, for many rows; large ones in single precision on a CPU by oneDNN.

    To oneDNN it is the gradient of the weights of a convolution with kernel 1, which its threads add up in parts.
    """
    if a.shape[1] * b.numel() < _LEAST_TRANSPOSED or not _suit_onednn(a, b):
        return a.T @ b
    pixels, gradient = (rows.view(1, len(rows), 1, -1).permute(0, 3, 1, 2) for rows in (b, a))
    kernel = a.new_empty(a.shape[1], b.shape[1], 1, 1)
    extent = [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    wanted = [False, True, False]
    _, product, _ = torch.ops.aten.convolution_backward(gradient, pixels, kernel, None, *extent, wanted)
    return product.view(kernel.shape[:2])


def _suit_onednn(a: Tensor, b: Tensor) -> bool:
    single = a.dtype == b.dtype == torch.float32 and a.device.type == "cpu"
    return single and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
