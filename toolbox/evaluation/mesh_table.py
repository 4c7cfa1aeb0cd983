"""Rows of ``measure_mesh`` as text."""

from collections.abc import Mapping, Sequence
from typing import Any

_UNITS = {"accuracy": "m", "completeness": "m", "chamfer": "m", "abs_diff": "m", "sq_rel": "m", "rmse": "m"}


def mesh_tables(rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> str:
    """A table for each protocol: a line per scene, then the mean over scenes.

    Args:
        rows: of ``measure_mesh``.
        means: of the numbers '<protocol>/<metric>'.
    """
    protocols = dict.fromkeys(name.split("/")[0] for name in means)
    return "\n\n".join(_table(protocol, rows, means) for protocol in protocols) + "\n"


def _table(protocol: str, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> str:
    names = [name for name in means if name.startswith(f"{protocol}/")]
    metrics = [name.split("/")[1] for name in names]
    titles = [f"{metric} ({_UNITS[metric]})" if metric in _UNITS else metric for metric in metrics]
    about = ("frames_with_depth",) if protocol == "depth" else ("fragments", "frames", "triangles", "truth")
    lines = [[protocol, *titles, *about]]
    for row in rows:
        numbers = [f"{row[name]:.4f}" if name in row else "-" for name in names]
        lines.append([row["scene"], *numbers, *(str(row.get(key, "-")) for key in about)])
    lines.append(["mean", *(f"{means[name]:.4f}" for name in names)])
    widths = [max(len(line[k]) for line in lines if k < len(line)) for k in range(len(lines[0]))]
    return "\n".join("  ".join(_aligned(line, widths)).rstrip() for line in lines)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first column and the text of the last to the left, numbers to the right."""
    return [text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in enumerate(zip(line, widths, strict=False))]
