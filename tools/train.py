"""Train what a config assembles.

    python tools/train.py configs/cvp_mvsnet/cvp_mvsnet_slim.py
    python tools/train.py CONFIG --resume --amp --cfg-options train_cfg.max_epochs=2 train_dataloader.batch_size=4

Several processes: tools/dist_train.sh CONFIG NPROC.
"""

import argparse
import os
from pathlib import Path

from mmengine.config import Config

from toolbox.engine import LAUNCHERS, ToolboxRunner, config_mistakes, latest_checkpoint, load_config
from toolbox.errors import UserError, exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="where checkpoints and logs go; default: the config's, or work_dirs/CONFIG")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint, or without one from the latest of the work dir, if there is any",
    )
    parser.add_argument(
        "--amp",
        nargs="?",
        const="auto",
        choices=("auto", "bfloat16", "float16"),
        help="mixed precision; auto is bfloat16 wherever the device computes in it",
    )
    parser.add_argument("--seed", type=int, help="of all random numbers; default: the config's")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what started the processes")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help="set by some launchers")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set on top of the config")
    args = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def apply_args(config: Config, args: argparse.Namespace) -> None:
    """Set on the config what the command line says."""
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.get("work_dir") or str(Path("work_dirs") / Path(args.config).stem)
    if args.seed is not None:
        config.randomness = {**config.get("randomness", {}), "seed": args.seed}
    if args.resume is not None:
        config.load_from = latest_checkpoint(config.work_dir) if args.resume == "auto" else args.resume
        config.resume = config.load_from is not None
    for needed in ("model", "train_dataloader", "train_cfg", "optim_wrapper"):
        if not config.get(needed):
            raise UserError(
                args.config, f"has no '{needed}', which training needs", "Add it; see configs/ for examples"
            )
    if args.amp:
        kept = {k: v for k, v in config.optim_wrapper.items() if k not in ("type", "loss_scale", "dtype", "use_fsdp")}
        config.optim_wrapper = {"type": "AutocastOptimWrapper", "dtype": args.amp, **kept}


@exit_on_user_error
def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    apply_args(config, args)
    with config_mistakes(config):
        ToolboxRunner.from_cfg(config).train()


if __name__ == "__main__":
    main()
