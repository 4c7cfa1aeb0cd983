"""How time and memory grow with a quantity: measured at several values of it, exponents fitted on logarithms."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .measure import measure
from .work import find_work


def exponent(amounts: Sequence[float], values: Sequence[float]) -> float:
    """The slope of a line through (log amount, log value), by least squares."""
    return float(np.polyfit(np.log(amounts), np.log(np.maximum(values, 1e-12)), 1)[0])


def measure_growth(
    work: str, quantity: str, rounds: int, device: str = "cpu", threads: int | None = None, clock: str = "wall"
) -> dict[str, Any]:
    """Ours alone at every value of a quantity that the work names in ``growth``."""
    kind = find_work(work)
    base = "growth" if "growth" in kind.sizes else "small"
    points = []
    for amount, changes in kind.growth[quantity].items():
        record = measure(work, base, rounds, None, device, threads, clock, changes, with_reference=False)
        ours = record["contenders"]["ours"]
        memory = ours["gpu_peak_bytes"] or ours["added_bytes"]
        points.append({"amount": amount, "seconds": ours["seconds"]["median"], "added_bytes": memory})
    amounts = [point["amount"] for point in points]
    return {
        "work": work,
        "quantity": quantity,
        "device": device,
        "clock": clock,
        "points": points,
        "time_exponent": exponent(amounts, [point["seconds"] for point in points]),
        # What a run adds may be nothing, as far as the system's pages tell.
        "memory_exponent": exponent(amounts, [max(point["added_bytes"], 2**20) for point in points]),
    }


GROWTH_HEADER = "| work | over | values | seconds | added MiB | time ~ | memory ~ |\n|" + " --- |" * 7


def growth_row(found: dict[str, Any]) -> str:
    """A line of the table whose head is ``GROWTH_HEADER``."""
    points = found["points"]
    cells = [
        found["work"],
        found["quantity"],
        ", ".join(f"{point['amount']:g}" for point in points),
        ", ".join(f"{point['seconds']:.3g}" for point in points),
        ", ".join(f"{point['added_bytes'] / 2**20:.0f}" for point in points),
        f"n^{found['time_exponent']:.2f}",
        f"n^{found['memory_exponent']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"
