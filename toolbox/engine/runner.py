"""mmengine's runner, with safe and strict checkpoints and several processes on a CPU."""

import re
from collections.abc import Callable
from pathlib import Path

import mmengine.runner
import torch
from mmengine.dist import master_only
from mmengine.model import is_model_wrapper
from mmengine.optim import _ParamScheduler
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from toolbox.errors import UserError
from toolbox.io import atomic_path
from toolbox.registry import RUNNERS

from .checkpoint import check_weights, load_checkpoint_file, state_dict_of
from .distributed import init_distributed
from .sync_batch_norm import synchronise_batch_norms


@RUNNERS.register_module()
class ToolboxRunner(mmengine.runner.Runner):
    """Trains and tests what a config assembles; its options are mmengine's.

    It differs in five ways. Checkpoints are read without running code from them. They have to fit the model exactly
    (the config's ``strict_load = False`` takes what fits, for fine-tuning). They are written whole or not at all.
    Several processes work without a GPU (gloo). The config's ``sync_bn = "torch"`` works there, too: see
    ``SyncBatchNorm``.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """Join the process group before mmengine would, which does so for GPUs only."""
        if self.distributed:
            init_distributed(self.launcher, **env_cfg.get("dist_cfg", {}))
        super().setup_env(env_cfg)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Register the config's default hooks; None in place of one leaves it out, mmengine's own or not."""
        own = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
        super().register_default_hooks({k: h for k, h in (hooks or {}).items() if h is not None or k in own})

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for data parallelism, its batch normalisation synchronised if the config says so.

        Raises:
            UserError: ``sync_bn`` is neither None nor 'torch'.
        """
        sync_bn = self.cfg.get("sync_bn")
        if sync_bn not in (None, "torch"):
            raise UserError(f"sync_bn={sync_bn!r}", "is not available", "Use sync_bn='torch', or None")
        if self.distributed and sync_bn:
            model = synchronise_batch_norms(model)
        if self.distributed and not torch.cuda.is_available():
            defaults = {
                "type": "MMDistributedDataParallel",
                "device_ids": None,
                "broadcast_buffers": False,
                "find_unused_parameters": self.cfg.get("find_unused_parameters", False),
            }
            model_wrapper_cfg = defaults | dict(model_wrapper_cfg or {})
        try:
            self.cfg.sync_bn = None  # mmengine would put in PyTorch's own, which refuses CPUs
            return super().wrap_model(model_wrapper_cfg, model)
        finally:
            self.cfg.sync_bn = sync_bn

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = "cpu",
        strict: bool | None = None,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights into the model.

        Args:
            filename: a file or an http(s) address.
            map_location: where the tensors go.
            strict: the checkpoint has to fit exactly; None: unless the config says ``strict_load = False``.
            revise_keys: (pattern, replacement) pairs that rename the weights; 'module.' is dropped in any case.

        Returns:
            The whole checkpoint.

        Raises:
            UserError: it cannot be read safely, or is of another architecture.
        """
        checkpoint = load_checkpoint_file(filename, map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        weights = state_dict_of(checkpoint, filename)
        for pattern, replacement in revise_keys or []:
            weights = {re.sub(pattern, replacement, name): value for name, value in weights.items()}
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if self.cfg.get("strict_load", True) if strict is None else strict:
            check_weights(model, weights, filename)
        load_state_dict(model, weights, strict=False, logger=self.logger)
        self._has_loaded = True
        self.logger.info(f"Loaded the checkpoint {filename}")
        return checkpoint

    def resume(self, filename: str, *args: object, **kwargs: object) -> None:
        """Go on from a checkpoint of an earlier run; how long to train, and each schedule, is the config's to say.

        Raises:
            UserError: it holds weights alone, or see ``load_checkpoint``.
        """
        ends = [scheduler.end for scheduler in self._schedulers()]
        try:
            super().resume(filename, *args, **kwargs)
        except KeyError as error:
            if error.args[0] not in ("meta", "epoch", "iter", "message_hub"):
                raise
            raise UserError(
                filename,
                f"the checkpoint holds weights but not the state of a training run (no '{error.args[0]}')",
                "Start from its weights by --cfg-options load_from=PATH instead of --resume",
            ) from error
        for scheduler, end in zip(self._schedulers(), ends, strict=True):
            _prolong(scheduler, end)

    def _schedulers(self) -> list:
        schedulers = self.param_schedulers or []
        return [s for group in schedulers.values() for s in group] if isinstance(schedulers, dict) else schedulers

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: object, **kwargs: object) -> None:
        """Write a checkpoint, whole or not at all; arguments are mmengine's."""
        with atomic_path(Path(out_dir) / filename) as temporary:
            super().save_checkpoint(str(temporary.parent), temporary.name, *args, **kwargs)


def _prolong(scheduler: _ParamScheduler, end: int) -> None:
    """Let a schedule go on to ``end``: its saved state ends, by default, where the run that saved it ended.

    A schedule does not take the step at its very end, which is due now if the run goes on.
    """
    is_step_due = scheduler.end == scheduler._global_step < end
    scheduler.end = end
    if is_step_due:
        scheduler._global_step -= 1
        scheduler.step()


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that a run in ``work_dir`` wrote last, or None where there is none yet."""
    note = Path(work_dir) / "last_checkpoint"
    if not note.is_file():
        return None
    written = Path(note.read_text(encoding="utf-8").strip())
    moved = Path(work_dir) / written.name  # a work dir may be renamed, or the run started from another folder
    return str(moved if moved.is_file() else written)
