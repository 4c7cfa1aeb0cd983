#!/usr/bin/env python
"""Learn depth from images alone: unsupervised start, then rounds of labelling by the network itself and training.

    python tools/self_train.py configs/self_cvp_mvsnet/unsup_slim.py --work-dir work_dirs/self
    python tools/self_train.py configs/self_cvp_mvsnet/own_capture.py --scene PATH --work-dir work_dirs/mine

Run it again to go on after an interruption, or with more iterations.
"""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

from toolbox.engine import load_config
from toolbox.errors import exit_on_user_error
from toolbox.pipelines import EXECUTORS, self_train, table


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file with a 'self_training' part")
    parser.add_argument("--checkpoint", type=Path, help="weights to start from, in place of the unsupervised training")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder of all results; a run there is resumed")
    parser.add_argument("--iterations", type=int, help="rounds of labelling and training; default: the config's")
    parser.add_argument("--scene", type=Path, help="train on this scene, of any format that docs/scenes.md lists")
    parser.add_argument("--format", default="auto", help="the scene's format, where it is not told by its files")
    parser.add_argument("--depth-range", nargs=2, type=float, metavar=("NEAR", "FAR"), help="in the scene's unit")
    parser.add_argument("--executor", choices=EXECUTORS, default="serial", help="what reconstructs several scenes")
    parser.add_argument("--workers", type=int, help="scenes at the same time; default: all cores")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set on top of the config")
    return parser.parse_args()


def take_scene(config: Config, args: argparse.Namespace) -> None:
    """Put the scene of the command line in place of the config's, in training and, with its depth, in evaluation.

    Options of an ``AnyScene`` in the config stay.
    """
    dataset = config.train_dataloader.dataset
    if args.scene is not None:
        scene = {"type": "AnyScene", "path": str(args.scene), "format": args.format}
        kept = dataset.scenes if _is_any_scene(dataset.scenes) else {}
        dataset.scenes = {**kept, **scene}
        if config.get("self_training"):
            config.self_training.label_scenes = None
        if config.get("test_dataloader"):
            measured = {name: value for name, value in dataset.scenes.items() if name != "depth"}
            config.test_dataloader.dataset.scenes = measured
    if args.depth_range is not None:
        dataset.depth_range = tuple(args.depth_range)
        if _is_any_scene(dataset.scenes):
            dataset.scenes.depth_range = tuple(args.depth_range)  # nothing to triangulate


def _is_any_scene(scenes: Any) -> bool:
    return isinstance(scenes, dict) and scenes.get("type") == "AnyScene"


@exit_on_user_error
def main() -> None:
    """Run the loop, print its table, say where the results lie."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    take_scene(config, args)
    report = self_train(config, args.work_dir, args.checkpoint, args.iterations, args.executor, args.workers)
    print(f"\n{table(report)}\n")
    print(f"weights: {report['iterations'][-1]['checkpoint']}")
    print(f"report: {args.work_dir}/report.md {args.work_dir}/report.json")
    print(f"pictures: {args.work_dir}/iteration_*/pictures/")
    for name in report.get("reconstructions", {}):
        print(f"reconstruction: {args.work_dir}/reconstruction/{name}/mesh.ply cloud.ply depth/")


if __name__ == "__main__":
    main()
