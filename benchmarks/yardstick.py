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


def yardstick(device: str, clock: Callable[[], float]) -> Callable[[], dict[str, float]]:
    """A function that measures the limits once: GFLOP/s in float32 and bfloat16, GB/s read and written."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_EDGE, _EDGE, generator=generator).to(device) for _ in range(2))
    a16, b16 = a.bfloat16(), b.bfloat16()
    source = torch.zeros(_COPIED_BYTES // 4, device=device)
    target = torch.ones_like(source)

    def run() -> dict[str, float]:
        return {
            "gemm_gflops": _rate(lambda: a @ b, 2e-9 * _EDGE**3, device, clock),
            "gemm_bfloat16_gflops": _rate(lambda: a16 @ b16, 2e-9 * _EDGE**3, device, clock),
            "copy_gb_per_second": _rate(lambda: target.copy_(source), 2e-9 * _COPIED_BYTES, device, clock),
        }

    return run
