#!/usr/bin/env python
"""Posed videos -> fragments of keyframes and, where there is depth, TSDF volumes: what volumetric networks train on.

python tools/prepare_fragments.py scans/scene0000_00 scans/scene0001_00 --out fragments/
"""

import argparse
from pathlib import Path

from toolbox.datasets.fragments import KeyframeRule
from toolbox.errors import UserError, exit_on_user_error
from toolbox.pipelines.executors import EXECUTORS, map_scenes
from toolbox.pipelines.fragment_preparation import PreparationJob, PreparationSettings, prepare_fragments


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="+", type=Path, help="folders or files of any format that docs/scenes.md lists")
    parser.add_argument("--out", required=True, type=Path, help="gets a folder for each scene; what is done is kept")
    parser.add_argument("--format", default="auto", help="the scenes' format, where it is not told by their files")
    parser.add_argument("--no-tsdf", action="store_true", help="fragments only; no depth is read")
    parser.add_argument("--angle", type=float, default=15.0, help="degrees between keyframes")
    parser.add_argument("--distance", type=float, default=0.1, help="metres between keyframes")
    parser.add_argument("--views", type=int, default=9, help="keyframes of a fragment")
    parser.add_argument("--keep-rest", action="store_true", help="a last fragment for the keyframes left over")
    parser.add_argument(
        "--orientation",
        choices=("auto", "world", "cameras"),
        default="auto",
        help="'world': its z points up and the floor is at 0; 'cameras': estimate that from them",
    )
    parser.add_argument("--voxel-size", type=float, default=0.04, help="of the finest volume, in metres")
    parser.add_argument("--max-depth", type=float, default=3.0, help="larger depths count as unknown, in metres")
    parser.add_argument(
        "--published", type=Path, help="NeuralRecon's folder of scenes: take fragments and TSDF from it"
    )
    parser.add_argument("--device", default="cpu", help="of the TSDF")
    parser.add_argument("--executor", choices=EXECUTORS, default="serial", help="where scenes are worked on")
    parser.add_argument("--workers", type=int, help="scenes at the same time")
    return parser.parse_args()


def make_jobs(args: argparse.Namespace) -> list[PreparationJob]:
    """A job for each scene; the folder's (or file's) name is the scene's folder in ``--out``.

    Raises:
        UserError: two scenes of one name.
    """
    settings = PreparationSettings(
        rule=KeyframeRule(args.angle, args.distance, args.views, args.keep_rest),
        orientation=args.orientation,
        tsdf=not args.no_tsdf,
        voxel_size=args.voxel_size,
        max_depth=args.max_depth,
        device=args.device,
    )
    names = [path.resolve().stem if path.is_file() else path.resolve().name for path in args.scenes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("the scenes", f"share the names {', '.join(twice)}", "Prepare them into different folders")
    return [
        PreparationJob(
            path, args.out / name, settings, args.format, {}, args.published / name if args.published else None
        )
        for path, name in zip(args.scenes, names, strict=True)
    ]


@exit_on_user_error
def main() -> None:
    """Prepare every scene, say what came of each."""
    args = parse_args()
    for facts in map_scenes(prepare_fragments, make_jobs(args), executor=args.executor, workers=args.workers):
        print(
            f"{facts['scene']}: {facts['fragments']} fragments of {facts['frames']} frames, "
            f"{facts['volumes']['levels'] if facts['volumes'] else 'no'} volumes, {facts['seconds']:g} s; "
            f"{len(facts['keyframes_left_over'])} keyframes left over, {facts['frames_without_depth']} frames without "
            f"depth, {len(facts['frames_left_out'])} left out"
        )
        for name, reason in facts["frames_left_out"]:
            print(f"  left out {name}: {reason}")
    print(f"results: {args.out}")


if __name__ == "__main__":
    main()
