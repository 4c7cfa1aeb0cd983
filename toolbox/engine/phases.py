"""A volumetric network's two phases in one training: first without memory of earlier fragments, then with it."""

from collections.abc import Sequence
from dataclasses import replace

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from toolbox.errors import UserError
from toolbox.models.losses.volumetric import PairLoss
from toolbox.registry import HOOKS


@HOOKS.register_module()
class FusionPhaseHook(Hook):
    """Switches a neck's memory on from an epoch on; before, every fragment stands alone.

    The phase follows from the epoch alone: a resumed training goes on in the right one. Validation during the first
    phase has no memory either.

    Args:
        fusion_epoch: first epoch (counted from 0) with memory: the number of epochs without.
        pair_distances: ``max_distance`` of the losses over pairs of views in either phase (published: 5, then 3); None
            leaves them as configured.

    Raises:
        UserError: there is no such epoch, or not one distance for either phase.
    """

    priority = "HIGH"

    def __init__(self, fusion_epoch: int = 10, pair_distances: Sequence[int | None] | None = None):
        if fusion_epoch < 0 or (pair_distances is not None and len(pair_distances) != 2):
            raise UserError(
                f"FusionPhaseHook(fusion_epoch={fusion_epoch}, pair_distances={pair_distances})",
                "needs an epoch from 0 on, and two distances",
                "Give the number of epochs without memory, and a distance for either phase or None",
            )
        self.fusion_epoch, self.pair_distances = fusion_epoch, pair_distances

    def before_train(self, runner: Runner) -> None:
        """Check that the network has a memory.

        Raises:
            UserError: it has none to switch on.
        """
        neck = getattr(_bare(runner.model), "neck", None)
        if getattr(neck, "fusion", None) is None:
            raise UserError(
                "FusionPhaseHook",
                f"finds no memory in {type(_bare(runner.model)).__name__}",
                "Give the neck fusion=dict(type='GRUFusion'), or leave the hook out",
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the phase, and start with an empty memory."""
        model, fusion_on = _bare(runner.model), runner.epoch >= self.fusion_epoch
        if model.neck.fusion_on != fusion_on:
            runner.logger.info(f"Epoch {runner.epoch + 1}: memory of earlier fragments {'on' if fusion_on else 'off'}")
        model.neck.fusion_on = fusion_on
        model.forget()
        if self.pair_distances is not None:
            for loss in model.losses.values():
                if isinstance(loss, PairLoss):
                    loss.pairs = replace(loss.pairs, max_distance=self.pair_distances[int(fusion_on)])


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
