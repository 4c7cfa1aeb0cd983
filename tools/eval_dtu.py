#!/usr/bin/env python
"""Accuracy, completeness and overall of point clouds on DTU scans, in mm.

python tools/eval_dtu.py SampleSet/MVS_Data --clouds 'results/scan{scan}/cloud.ply' --out dtu.json
"""

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from toolbox.errors import UserError, exit_on_user_error
from toolbox.evaluation.dtu import (
    MEANS,
    TEST_SCANS,
    DTURecipe,
    average_dtu_scans,
    evaluate_dtu_scan,
    reference_files,
)
from toolbox.io import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with Points/stl and ObsMask")
    parser.add_argument("--clouds", required=True, help="PLY files of the scans, as 'x{scan}.ply' or 'x{scan:03d}.ply'")
    parser.add_argument("--scans", nargs="+", type=int, help="the test scans that have a cloud unless given")
    parser.add_argument("--jobs", type=int, default=1, help="scans at a time, each in a process of its own")
    parser.add_argument("--workers", type=int, help="threads per scan; the cores shared among the jobs unless given")
    parser.add_argument("--out", type=Path, help="JSON file of the numbers and the settings")
    parser.add_argument("--min-spacing", type=float, default=DTURecipe.min_spacing, help="mm")
    parser.add_argument("--max-distance", type=float, default=DTURecipe.max_distance, help="mm; outliers from here on")
    parser.add_argument("--seed", type=int, default=DTURecipe.seed, help="of the order in which points are thinned")
    return parser.parse_args()


def find_clouds(pattern: str, scans: list[int] | None) -> tuple[dict[int, Path], list[dict[str, int | str]]]:
    """The cloud of each scan, and which scans are left out and why. A scan asked for by number must have its cloud."""
    try:
        paths = {scan: Path(pattern.format(scan=scan)) for scan in scans or TEST_SCANS}
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"--clouds {pattern}", f"is no pattern ({error})", "Write {scan} for the scan's number"
        ) from error
    if len(paths) > 1 and len(set(paths.values())) == 1:
        raise UserError(f"--clouds {pattern}", "names one file for all scans", "Write {scan} for the scan's number")
    missing = [scan for scan, path in paths.items() if not path.is_file()]
    if missing and (scans or len(missing) == len(paths)):
        raise UserError(paths[missing[0]], "does not exist", "Correct --clouds or --scans, or reconstruct the scan")
    found = {scan: path for scan, path in paths.items() if scan not in missing}
    return found, [{"scan": scan, "reason": f"{paths[scan]} does not exist"} for scan in missing]


def in_turn(clouds: dict[int, Path], root: Path, recipe: DTURecipe, workers: int, jobs: int) -> Iterator[Future]:
    """Evaluations as they end, each with its ``scan``."""
    if jobs == 1:
        for scan, cloud in clouds.items():
            future = Future()
            future.scan = scan
            try:
                future.set_result(evaluate_dtu_scan(cloud, root, scan, recipe, workers))
            except UserError as error:
                future.set_exception(error)
            yield future
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = []
        for scan, cloud in clouds.items():
            futures.append(pool.submit(evaluate_dtu_scan, cloud, root, scan, recipe, workers))
            futures[-1].scan = scan
        yield from as_completed(futures)


def print_table(scores: dict[int, dict[str, float | int]], mean: dict[str, float]) -> None:
    """A row per scan and their mean."""
    print("  scan" + "".join(f"{name:>21}" for name in MEANS))
    for name, row in [*scores.items(), ("mean", mean)]:
        print(f"{name:>6}" + "".join(f"{row[key]:21.4f}" for key in MEANS))


@exit_on_user_error
def main() -> None:
    """Check that every file is there, evaluate, print, write."""
    args = parse_args()
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}", "is no number of scans", "Give 1 or more")
    workers = args.workers or max(1, (os.cpu_count() or 1) // args.jobs)
    recipe = DTURecipe(args.min_spacing, args.max_distance, seed=args.seed)
    clouds, left_out = find_clouds(args.clouds, args.scans)
    for scan in clouds:
        reference_files(args.root, scan, recipe.margin)
    scores, failed = {}, []
    for future in tqdm(in_turn(clouds, args.root, recipe, workers, args.jobs), total=len(clouds), unit="scan"):
        try:
            scores[future.scan] = future.result()
        except UserError as error:
            failed.append({"scan": future.scan, "reason": str(error)})
    left_out += failed
    scores = dict(sorted(scores.items()))
    mean = average_dtu_scans(list(scores.values())) if scores else None
    if scores:
        print_table(scores, mean)
    print(f"mm, mean over {len(scores)} scans; recipe: {recipe.to_dict()}")
    for entry in left_out:
        print(f"left out: scan {entry['scan']}: {entry['reason']}")
    if args.out:
        rows = [{"scan": scan, "cloud": str(clouds[scan]), **row} for scan, row in scores.items()]
        report = {"unit": "mm", "recipe": recipe.to_dict(), "mean": mean, "scans": rows, "left_out": left_out}
        write_json(args.out, report)
    if failed:
        names = ", ".join(str(entry["scan"]) for entry in failed)
        raise UserError(f"scans {names}", "could not be evaluated (see above)", "Correct their clouds and run again")


if __name__ == "__main__":
    main()
