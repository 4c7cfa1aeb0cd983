"""Random numbers that depend on the position in a run, so that a resumed run draws what an uninterrupted one would."""

import random
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from toolbox.registry import HOOKS


def seed_everything(*position: int) -> None:
    """Seed Python, numpy and torch (all devices) from a tuple of non-negative integers."""
    words = np.random.SeedSequence(position).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])  # noqa: NPY002, data transforms of others use the global generator
    torch.manual_seed(int(words[2]))


class _SeededIterator:
    """Batches of an endless loader, each fetched with random numbers of its own."""

    def __init__(self, batches: Iterator, *position: int):
        self.batches, self.position, self.index = batches, position, 0
        self._start()

    def _start(self) -> None:
        """Let a loader that starts at its first fetch (onedl-mmengine's) draw its own seed before it."""
        getattr(self.batches, "_ensure_iterator", lambda: None)()

    def __iter__(self) -> "_SeededIterator":
        return self

    def __next__(self) -> object:
        seed_everything(*self.position, self.index)
        self.index += 1
        return next(self.batches)

    def skip_iter(self, count: int) -> None:
        """Go on ``count`` batches later, without loading them (asked for by onedl-mmengine's loop only)."""
        self.batches.skip_iter(count)
        self.index += count
        self._start()


@HOOKS.register_module()
class PositionSeedHook(Hook):
    """Seed each epoch, fetch and training step from (seed, rank, position).

    Random numbers are then a function of the position, whatever was drawn before: by a validation, or by the
    fast-forward of an iteration-based loop to the place where it was interrupted. Nothing has to be stored in a
    checkpoint, and any number of processes resumes exactly. Worker processes of a data loader are seeded by mmengine;
    those that persist over epochs start anew when an epoch-based run is resumed.
    """

    priority = "VERY_HIGH"
    _EPOCH, _FETCH, _STEP = range(3)

    def _place(self, runner: Runner, what: int) -> tuple[int, int, int]:
        return runner.seed, get_rank(), what

    def before_train(self, runner: Runner) -> None:
        """Seed an iteration-based loop's fetches, those of a fast-forward included."""
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = _SeededIterator(loop.dataloader_iterator, *self._place(runner, self._FETCH))

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed what the data loader draws when an epoch starts, and the fetch of its first batch."""
        seed_everything(*self._place(runner, self._EPOCH), runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Seed what the model draws."""
        seed_everything(*self._place(runner, self._STEP), runner.iter)
