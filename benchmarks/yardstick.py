"""The machine's own limits: how fast it multiplies matrices and copies memory, measured beside the works."""

from collections.abc import Callable
from typing import Any

import torch

_EDGE = 1024
_COPIED_BYTES = 2**27
_SECONDS = 0.05


def _rate(action: Callable[[], Any], amount: float, device: str, clock: Callable[[], float]) -> float:
    """Amount per second of the fastest of several repetitions."""
    best, started = float("inf"), clock()
    while clock() - started < _SECONDS or best == float("inf"):
        before = clock()
        action()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, clock() - before)
    return amount / best


def _products(a: torch.Tensor, b: torch.Tensor) -> list[Callable[[], torch.Tensor]]:
    """The ways there are to multiply matrices: PyTorch's own, and oneDNN's, which some processors prefer."""
    ways = [lambda: a @ b]
    onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if onednn and a.dtype == torch.bfloat16:
        onednn = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if onednn and a.device.type == "cpu":
        transposed = b.T
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(a, transposed, None, "none", [], ""))
    return ways


def yardstick(device: str, clock: Callable[[], float]) -> Callable[[], dict[str, float]]:
    """A function that measures the limits once: GFLOP/s in float32 and bfloat16, GB/s read and written.

    And the yardstick itself: the seconds of one product in float32 and one copy.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_EDGE, _EDGE, generator=generator).to(device) for _ in range(2))
    source = torch.zeros(_COPIED_BYTES // 4, device=device)
    target = torch.ones_like(source)
    operations, copied = 2e-9 * _EDGE**3, 2e-9 * _COPIED_BYTES
    ways, ways16 = _products(a, b), _products(a.bfloat16(), b.bfloat16())

    @torch.no_grad()
    def run() -> dict[str, float]:
        product, product16 = (max(_rate(way, operations, device, clock) for way in some) for some in (ways, ways16))
        copy = _rate(lambda: target.copy_(source), copied, device, clock)
        return {
            "gemm_gflops": product,
            "gemm_bfloat16_gflops": product16,
            "copy_gb_per_second": copy,
            "yardstick_seconds": operations / product + copied / copy,
        }

    return run
