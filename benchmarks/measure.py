"""Contenders taking turns, and what follows from their times."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from toolbox.errors import UserError

from .contender import Contender
from .work import find_work, size_of


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = np.quantile(np.asarray(values, float), (0.25, 0.5, 0.75))
    return {"median": float(middle), "low": float(low), "high": float(high)}


def measure(
    work: str,
    size: str,
    rounds: int = 5,
    against: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    clock: str = "wall",
    changes: dict[str, Any] | None = None,
    with_reference: bool = True,
) -> dict[str, Any]:
    """Measure a work: every round runs each contender once, in turns, after one round that does not count.

    Args:
        against: a peer's adapter (a .py file with ``build(work)``), or a folder with another version of the toolbox.
        clock: 'wall'; 'cpu': seconds of all cores together, which other programs on the machine disturb less.
        changes: values that differ from the size's.
        with_reference: measure the work's own reference, where it has one.

    Returns:
        The record, see benchmarks/README.md.
    """
    kind = find_work(work)
    settings = {**size_of(kind, size), **(changes or {})}
    common = {"work": work, "settings": settings, "device": device, "threads": threads, "clock": clock}
    contenders = {"ours": Contender("ours", **common)}
    if with_reference and kind.reference_name:
        contenders["reference"] = Contender("reference", **common)
    if against is not None:
        contenders["against"] = _against(against, common)
    yardstick = Contender("yardstick", device=device, threads=threads, clock=clock)
    with contextlib.ExitStack() as stack:
        for contender in (*contenders.values(), yardstick):
            stack.enter_context(contender)
        for _ in range(rounds + 1):
            for contender in (yardstick, *contenders.values()):
                contender.run()
        differences = _differences(contenders)
    record = {"work": work, "size": size, "settings": settings, "device": device, "rounds": rounds}
    record |= {"clock": clock, "threads": contenders["ours"].start["threads"], "reference_name": kind.reference_name}
    record["contenders"] = {name: _facts(contender) for name, contender in contenders.items()}
    record["ratios"], record["memory_ratios"] = {}, {}
    for name in contenders.keys() - {"ours"}:
        record["ratios"][name] = _ratio(contenders[name], contenders["ours"])
        record["memory_ratios"][name] = _memory_ratio(record["contenders"][name], record["contenders"]["ours"])
    record["differences"] = differences
    rounds_of_ours = zip(contenders["ours"].runs[1:], yardstick.runs[1:], strict=True)
    record["in_yardsticks"] = spread([ours["seconds"] / limit["yardstick_seconds"] for ours, limit in rounds_of_ours])
    record["limits"] = {
        name: max(run[name] for run in yardstick.runs)
        for name in ("gemm_gflops", "gemm_bfloat16_gflops", "copy_gb_per_second")
    }
    record["shares"] = _shares(record, contenders["ours"])
    return record


def _against(path: Path, common: dict[str, Any]) -> Contender:
    if path.is_dir() and (path / "toolbox" / "__init__.py").is_file():
        return Contender("version", **common, path=str(path.resolve()))
    if path.is_file() and path.suffix == ".py":
        return Contender("adapter", **common, path=str(path.resolve()))
    raise UserError(
        f"--against {path}",
        "is neither a .py file nor a folder with another version of the toolbox",
        "See benchmarks/README.md",
    )


def _facts(contender: Contender) -> dict[str, Any]:
    counted = contender.runs[1:]
    return {
        "seconds": spread([run["seconds"] for run in counted]),
        "first_seconds": contender.runs[0]["seconds"],
        "start_bytes": contender.start["start_bytes"],
        "peak_bytes": contender.runs[-1]["peak_bytes"],
        "added_bytes": max(contender.runs[-1]["peak_bytes"] - contender.start["start_bytes"], 0),
        "gpu_peak_bytes": contender.runs[-1]["gpu_peak_bytes"],
    }


def _ratio(slower: Contender, faster: Contender) -> dict[str, float]:
    """How many times the time of the second one the first one takes, round by round."""
    pairs = zip(slower.runs[1:], faster.runs[1:], strict=True)
    return spread([first["seconds"] / second["seconds"] for first, second in pairs])


def _memory_ratio(other: dict[str, Any], ours: dict[str, Any]) -> float | None:
    field = "gpu_peak_bytes" if ours["gpu_peak_bytes"] else "added_bytes"
    return other[field] / ours[field] if ours[field] else None


def _differences(contenders: dict[str, Contender]) -> dict[str, dict[str, float]]:
    """For each other contender and output: the mean difference from ours, over our mean magnitude."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = {name: c.outputs(Path(folder) / f"{name}.npz") for name, c in contenders.items()}
    ours = outputs.pop("ours")
    return {
        name: {key: relative_difference(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()}
        for name, theirs in outputs.items()
    }


def relative_difference(ours: np.ndarray, other: np.ndarray) -> float:
    """Mean difference over the mean magnitude; infinite where the shapes differ."""
    if ours.shape != other.shape:
        return float("inf")
    if not ours.size:
        return 0.0
    return float(np.abs(ours - other).mean() / max(np.abs(ours).mean(), 1e-30))


def _shares(record: dict[str, Any], ours: Contender) -> dict[str, float]:
    """Which part of the machine's limits the work's cost reaches in the time that it takes."""
    seconds, limits = median(run["seconds"] for run in ours.runs[1:]), record["limits"]
    precision = "gemm_bfloat16_gflops" if record["settings"].get("bfloat16") else "gemm_gflops"
    reached = {
        "gemm": 1e-9 * ours.start["flops"] / seconds / limits[precision],
        "copy": 1e-9 * ours.start["moved_bytes"] / seconds / limits["copy_gb_per_second"],
    }
    return {name: share for name, share in reached.items() if share}
