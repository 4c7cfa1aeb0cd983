"""Records as text, and the last recorded ones."""

import json
from pathlib import Path
from typing import Any

from toolbox.io import write_json

RESULTS = Path(__file__).with_name("results.json")


def key_of(record: dict[str, Any]) -> str:
    """Under which a record is kept: one for each work, size and device."""
    return f"{record['work']}/{record['size']}/{record['device'].split(':')[0]}"


def read_results(path: Path = RESULTS) -> dict[str, Any]:
    """The last recorded results by ``key_of``; none where the file does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def keep(records: list[dict[str, Any]], path: Path = RESULTS) -> None:
    """Record results in place of the last ones of the same works, sizes and devices."""
    results = {**read_results(path), **{key_of(record): record for record in records}}
    write_json(path, dict(sorted(results.items())))


def change(record: dict[str, Any], last: dict[str, Any] | None) -> float | None:
    """How many times faster than last recorded, as far as another machine can tell.

    By the ratio to the reference where both records have one, else by the time in yardsticks (by the same clock and
    number of threads). None where there is nothing to compare with.
    """
    if last is None or last["settings"] != record["settings"]:
        return None
    if "reference" in record["ratios"] and "reference" in last["ratios"]:
        return record["ratios"]["reference"]["median"] / last["ratios"]["reference"]["median"]
    if any(last[name] != record[name] for name in ("threads", "clock")):
        return None
    return last["in_yardsticks"]["median"] / record["in_yardsticks"]["median"]


HEADER = (
    "| work | size | seconds | added memory | reference | faster | less memory | against | less memory | of the limit |"
    " difference | since last |\n|" + " --- |" * 12
)


def row(record: dict[str, Any], last: dict[str, Any] | None = None) -> str:
    """A line of the table whose head is ``HEADER``."""
    ours = record["contenders"]["ours"]
    memory = f"{(ours['gpu_peak_bytes'] or ours['added_bytes']) / 2**20:.0f} MiB"
    since = change(record, last)
    largest = [value for outputs in record["differences"].values() for value in outputs.values()]
    cells = [
        record["work"],
        record["size"],
        _spread(ours["seconds"], "{:.3g}"),
        memory,
        record["reference_name"] or "-",
        _spread(record["ratios"].get("reference"), "{:.2f}", "x"),
        _times(record["memory_ratios"].get("reference")),
        _spread(record["ratios"].get("against"), "{:.2f}", "x"),
        _times(record["memory_ratios"].get("against")),
        ", ".join(f"{name} {share:.0%}" for name, share in record["shares"].items()) or "-",
        f"{max(largest):.1g}" if largest else "-",
        _times(since),
    ]
    return f"| {' | '.join(cells)} |"


def limits(record: dict[str, Any]) -> str:
    """The machine's limits in one line."""
    found = record["limits"]
    return (
        f"{record['device']}, {record['threads']} threads, {record['clock']} time: {found['gemm_gflops']:.0f} GFLOP/s, "
        f"{found['gemm_bfloat16_gflops']:.0f} in bfloat16, copies "
        f"{found['copy_gb_per_second']:.1f} GB/s"
    )


def _spread(values: dict[str, float] | None, form: str, unit: str = "") -> str:
    if values is None:
        return "-"
    low, high = form.format(values["low"]), form.format(values["high"])
    return f"{form.format(values['median'])}{unit} ({low} to {high})"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
