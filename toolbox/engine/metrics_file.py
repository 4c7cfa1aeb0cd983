"""Metrics as a file, with what led to them."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

import toolbox
from toolbox.io import write_json
from toolbox.registry import HOOKS


def jsonable(value: object) -> object:
    """The value with numbers as JSON has them: a non-finite one becomes null."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Sequence):
        return [jsonable(item) for item in value]
    number = float(value)
    return number if math.isfinite(number) else None


@HOOKS.register_module()
class MetricsFileHook(Hook):
    """Write the metrics of each validation and test to a JSON file, atomically.

    The file holds 'metrics'; 'run' (config, checkpoint or training iteration, versions); and for each metric of the
    evaluator that has a ``report``: recipe (definition, thresholds, limits), counts, and every image's numbers.
    A number that is undefined (nothing to take a mean over) is null.

    Args:
        out_file: where to write; relative to the work dir.
    """

    priority = "LOW"

    def __init__(self, out_file: str = "metrics.json"):
        self.out_file = out_file

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the metrics of a validation."""
        where = {"split": "val", "epoch": runner.epoch, "iteration": runner.iter}
        self._write(runner, metrics or {}, runner.val_loop.evaluator.metrics, where)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the metrics of a test."""
        where = {"split": "test", "checkpoint": runner._load_from and str(runner._load_from)}
        self._write(runner, metrics or {}, runner.test_loop.evaluator.metrics, where)

    def _write(self, runner: Runner, metrics: dict, evaluators: list, where: dict) -> None:
        if not is_main_process():
            return
        run = {
            "config": runner.cfg.filename and str(runner.cfg.filename),
            **where,
            "versions": {"toolbox": toolbox.__version__, "torch": torch.__version__},
        }
        reports = [metric.report for metric in evaluators if getattr(metric, "report", None)]
        content = {"metrics": metrics, "run": run, "reports": reports}
        write_json(Path(runner.work_dir) / self.out_file, jsonable(content))
