#!/usr/bin/env python
"""Measure works beside a reference, a peer or another version, and beside the machine's limits.

python tools/benchmark.py all                            every work at its small size, against the last recorded ratio
python tools/benchmark.py mvs_view --size user           one work
python tools/benchmark.py mvs_view --against peer.py     a peer: build(work) in a file of yours
python tools/benchmark.py mvs_view --against ../before   another version of the toolbox
python tools/benchmark.py growth                         how time and memory grow
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.growth import GROWTH_HEADER, growth_row, measure_growth
from benchmarks.measure import measure
from benchmarks.report import HEADER, keep, key_of, limits, read_results, row
from benchmarks.work import find_work, work_names
from toolbox.errors import UserError, exit_on_user_error
from toolbox.io import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="+", metavar="WORK", help="'all', 'growth', or names; 'growth NAME ...' too")
    parser.add_argument("--size", default="small", help="tiny, small, user, or another of the work's sizes")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=INT", help="values that differ from the size's")
    parser.add_argument("--against", type=Path, help="a .py file with build(work), or a folder with another toolbox")
    parser.add_argument("--no-reference", action="store_true", help="leave the work's own reference out")
    parser.add_argument("--rounds", type=int, default=5, help="times that each contender runs, in turns")
    parser.add_argument("--threads", type=int, help="of PyTorch, numpy and OpenCV; default: their own choice")
    parser.add_argument("--device", default="cpu", help="of ours; a reference says itself where it runs")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="'cpu' on a machine with other work")
    parser.add_argument("--json", type=Path, help="write the records there")
    parser.add_argument("--record", action="store_true", help="keep them as the last recorded results")
    return parser.parse_args()


def changed_values(pairs: list[str]) -> dict[str, int]:
    """NAME=INT as a dict.

    Raises:
        UserError: something else.
    """
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if not value.lstrip("-").isdigit():
            raise UserError(f"--set {pair}", "is not NAME=INT", "Name a value of the work's sizes")
        found[name] = int(value)
    return found


def grow(args: argparse.Namespace) -> list[dict]:
    """Measure how the works named (or all) grow."""
    print(GROWTH_HEADER)
    found = []
    for name in args.works[1:] or work_names():
        for quantity in find_work(name).growth:
            found.append(measure_growth(name, quantity, args.rounds, args.device, args.threads, args.clock))
            print(growth_row(found[-1]), flush=True)
    return found


def compare(args: argparse.Namespace) -> list[dict]:
    """Measure the works named."""
    last, records, changes = read_results(), [], changed_values(args.set)
    print(HEADER)
    for name in work_names() if args.works == ["all"] else args.works:
        records.append(
            measure(
                name,
                args.size,
                args.rounds,
                args.against,
                args.device,
                args.threads,
                args.clock,
                changes,
                with_reference=not args.no_reference,
            )
        )
        print(row(records[-1], last.get(key_of(records[-1]))), flush=True)
    print(f"\n{limits(records[-1])}")
    return records


@exit_on_user_error
def main() -> None:
    """Measure, print a table, write what was asked for."""
    args = parse_args()
    if args.works[0] == "growth":
        records = grow(args)
    else:
        records = compare(args)
        if args.record:
            keep(records)
    if args.json:
        write_json(args.json, records)


if __name__ == "__main__":
    main()
