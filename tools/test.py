"""Measure a trained model: print its metrics and write them to metrics.json.

    python tools/test.py CONFIG CHECKPOINT --out metrics.json --show-dir pictures

A volumetric network's meshes (MeshMetric) lie in WORK_DIR/meshes, with the numbers of each scene in table.txt.
Several processes: tools/dist_test.sh CONFIG CHECKPOINT NPROC.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from tqdm import tqdm

from toolbox.engine import LAUNCHERS, ToolboxRunner, config_mistakes, load_config
from toolbox.errors import UserError, exit_on_user_error
from toolbox.evaluation import MeshMetric
from toolbox.pipelines.executors import EXECUTORS, map_scenes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file or http(s) address")
    parser.add_argument("--work-dir", help="where logs go; default: the config's, or work_dirs/CONFIG")
    parser.add_argument("--out", help="file of the metrics; default: metrics.json in the work dir")
    parser.add_argument("--show-dir", help="folder for a picture of every sample: image, depth, ground truth, error")
    parser.add_argument("--executor", choices=EXECUTORS, default="serial", help="where scenes' meshes are measured")
    parser.add_argument("--workers", type=int, help="scenes measured at the same time")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what started the processes")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help="set by some launchers")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set on top of the config")
    args = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def apply_args(config: Config, args: argparse.Namespace) -> Path:
    """Set on the config what the command line says; returns where the metrics will lie."""
    for needed in ("model", "test_dataloader", "test_cfg", "test_evaluator"):
        if config.get(needed) is None:
            raise UserError(args.config, f"has no '{needed}', which a test needs", "Add it; see configs/ for examples")
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.get("work_dir") or str(Path("work_dirs") / Path(args.config).stem)
    config.load_from, config.resume = args.checkpoint, False
    out = Path(args.out) if args.out else Path(config.work_dir) / "metrics.json"
    hooks = dict(config.get("default_hooks", {}))
    hooks["metrics_file"] = {"type": "MetricsFileHook", "out_file": str(out.absolute())}
    hooks.pop("pictures", None)
    if args.show_dir and _mesh_metrics(config):
        raise UserError(
            "--show-dir", "shows depth maps, and this config's network gives meshes", "Leave it out: they are written"
        )
    if args.show_dir:
        folder = str(Path(args.show_dir).absolute())
        hooks["pictures"] = {"type": "DepthPictureHook", "out_dir": folder, "max_pictures": None}
    config.default_hooks = hooks
    for evaluator in _mesh_metrics(config):
        if evaluator.get("out_dir") is None:
            evaluator["out_dir"] = str(Path(config.work_dir) / "meshes")
    return out


def _mesh_metrics(config: Config) -> list[dict]:
    evaluators = config.test_evaluator
    listed = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    return [
        evaluator for evaluator in listed if evaluator.get("type") in (MeshMetric, "MeshMetric", "toolbox.MeshMetric")
    ]


def measure_in_parallel(runner: ToolboxRunner, executor: str, workers: int | None) -> None:
    """Let the metrics of meshes work on several scenes at a time, and show how far they are."""

    def mapped(function: Callable, jobs: Sequence) -> list[Any]:
        with tqdm(total=len(jobs), desc="meshes", unit="scene", disable=not is_main_process()) as bar:
            return map_scenes(function, jobs, executor, workers, lambda done, _: bar.update(done - bar.n))

    for metric in runner.test_loop.evaluator.metrics:
        if isinstance(metric, MeshMetric):
            metric.map = mapped


def table(metrics: dict[str, float]) -> str:
    """One line per metric."""
    width = max(map(len, metrics), default=0)
    return "\n".join(f"{name:<{width}}  {value:.6g}" for name, value in metrics.items())


@exit_on_user_error
def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    out = apply_args(config, args)
    with config_mistakes(config):
        runner = ToolboxRunner.from_cfg(config)
        measure_in_parallel(runner, args.executor, args.workers)
        metrics = runner.test()
    if is_main_process():
        print(table(metrics))
        print(f"metrics: {out}")
        for evaluator in _mesh_metrics(config):
            print(f"meshes: {evaluator['out_dir']}")
        if args.show_dir:
            print(f"pictures: {args.show_dir}")


if __name__ == "__main__":
    main()
