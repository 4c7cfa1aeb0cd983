"""The report of a self-training run: a table of its iterations, for people and for programs."""

import math
from pathlib import Path
from typing import Any

from mmengine.config import Config

from toolbox.io import write_json, write_text

# What the table shows first, where there is such a number.
_LABEL_COLUMNS = {
    "coverage": "labelled",
    "agreement": "agree with before",
    "label_photometric": "L1 of labels",
    "depth_photometric": "L1 of estimates",
    "label_abs_rel": "AbsRel of labels",
}


def write_report(work_dir: Path, config: Config, report: dict[str, Any]) -> None:
    """Write ``report.json`` and ``report.md``.

    Args:
        report: 'iterations', a list of rows with 'iteration', 'checkpoint', 'evaluation' (metrics by name) and, from
            the first on, 'labels' (numbers by scene).
    """
    write_json(work_dir / "report.json", _finite(report))
    write_text(work_dir / "report.md", f"# Self-training of {config.filename or 'a config'}\n\n{table(report)}\n")


def table(report: dict[str, Any]) -> str:
    """One row per iteration: means over the scenes' labels, then the metrics of the network trained on them."""
    rows = [_row(iteration) for iteration in report["iterations"]]
    # The start has no labels; their columns come before the metrics all the same.
    columns = list(dict.fromkeys(name for row in reversed(rows) for name in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(row.get(name, '') for name in columns)} |" for row in rows]
    return "\n".join(lines)


def _row(iteration: dict[str, Any]) -> dict[str, str]:
    row = {"iteration": "start" if iteration["iteration"] == 0 else str(iteration["iteration"])}
    scenes = list(iteration.get("labels", {}).values())
    for key, title in _LABEL_COLUMNS.items():
        values = [scene[key] for scene in scenes if scene.get(key) is not None and not math.isnan(scene[key])]
        if values:
            row[title] = f"{sum(values) / len(values):.4f}"
    turned = [scene["poses"]["turned_degrees"] for scene in scenes if scene.get("poses")]
    if turned:
        row["poses turned (degrees)"] = f"{sum(turned) / len(turned):.3f}"
    return row | {name: f"{value:.4f}" for name, value in iteration["evaluation"].items()}


def _finite(value: Any) -> Any:
    """The value with what is not finite as None, which JSON has."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
