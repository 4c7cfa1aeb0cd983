"""Measure a trained model: print its metrics and write them to metrics.json.

    python tools/test.py CONFIG CHECKPOINT --out metrics.json --show-dir pictures

Several processes: tools/dist_test.sh CONFIG CHECKPOINT NPROC.
"""

import argparse
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from toolbox.engine import LAUNCHERS, ToolboxRunner, config_mistakes, load_config
from toolbox.errors import UserError, exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file or http(s) address")
    parser.add_argument("--work-dir", help="where logs go; default: the config's, or work_dirs/CONFIG")
    parser.add_argument("--out", help="file of the metrics; default: metrics.json in the work dir")
    parser.add_argument("--show-dir", help="folder for a picture of every sample: image, depth, ground truth, error")
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
    if args.show_dir:
        folder = str(Path(args.show_dir).absolute())
        hooks["pictures"] = {"type": "DepthPictureHook", "out_dir": folder, "max_pictures": None}
    config.default_hooks = hooks
    return out


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
        metrics = ToolboxRunner.from_cfg(config).test()
    if is_main_process():
        print(table(metrics))
        print(f"metrics: {out}")
        if args.show_dir:
            print(f"pictures: {args.show_dir}")


if __name__ == "__main__":
    main()
