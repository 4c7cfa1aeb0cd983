"""The order of fragments for networks that remember: a scene's fragments follow each other, on one process."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from toolbox.registry import DATA_SAMPLERS


@runtime_checkable
class ScenesInOrder(Protocol):
    """A data set whose samples are those of its first scene in order, then those of the second, ...

    ``scene_lengths`` tells how many samples each scene has.
    """

    @property
    def scene_lengths(self) -> list[int]: ...


@DATA_SAMPLERS.register_module()
class SceneOrderSampler(Sampler):
    """Whole scenes, each on one rank and with its fragments in order; scenes are shared out by their lengths.

    Gives (index, epoch), by which ``FragmentDataset`` places all fragments of a scene alike in an epoch. Use a batch
    size of 1: one scene at a time on a rank.

    Args:
        dataset: a ``FragmentDataset``, or another of that order.
        shuffle: another order of the scenes in every epoch.
        seed: of the order; None draws one that all ranks share.
        round_up: let every rank have as many samples as the longest: the others begin again with their first scene.
            Training in step needs it; in an evaluation it would count scenes twice.
        loose_epochs: so many epochs come first in which a rank's fragments are in any order, each placed on its own:
            for the phase without memory, whose steps then do not see one room for a while.
    """

    def __init__(
        self,
        dataset: ScenesInOrder,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        loose_epochs: int = 0,
    ):
        self.rank, self.world_size = get_dist_info()
        self.lengths = list(dataset.scene_lengths)
        self.shuffle, self.round_up, self.loose_epochs, self.epoch = shuffle, round_up, loose_epochs, 0
        self.seed = sync_random_seed() if seed is None else seed

    def __iter__(self) -> Iterator[tuple[int, int] | int]:
        samples = self._samples(self.rank)
        if self.epoch < self.loose_epochs:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(samples), generator=generator).tolist()
            yield from (samples[order[position % len(order)]] for position in range(len(self)))
            return
        count = len(self)
        for position in range(count):
            yield samples[position % len(samples)], self.epoch

    def __len__(self) -> int:
        totals = [sum(self.lengths[s] for s in scenes) for scenes in self._shares()]
        return max(totals) if self.round_up else totals[self.rank]

    def set_epoch(self, epoch: int) -> None:
        """Another order and other placements (called by mmengine before each epoch)."""
        self.epoch = epoch

    def _samples(self, rank: int) -> list[int]:
        starts = [sum(self.lengths[:s]) for s in range(len(self.lengths))]
        return [starts[s] + k for s in self._shares()[rank] for k in range(self.lengths[s])]

    def _shares(self) -> list[list[int]]:
        """The scenes of each rank: the longest first, each to the rank that has least; then in the epoch's order."""
        shares: list[list[int]] = [[] for _ in range(self.world_size)]
        order = self._order()
        for scene in sorted(order, key=lambda s: -self.lengths[s]):
            least = min(shares, key=lambda share: sum(self.lengths[s] for s in share))
            least.append(scene)
        place = {scene: k for k, scene in enumerate(order)}
        shares = [sorted(share, key=place.__getitem__) for share in shares]
        if self.round_up:  # more ranks than scenes: some scenes go to several
            shares = [share or [order[rank % len(order)]] for rank, share in enumerate(shares)]
        return shares

    def _order(self) -> list[int]:
        if not self.shuffle:
            return list(range(len(self.lengths)))
        generator = torch.Generator()
        generator.manual_seed(self.seed + self.epoch)
        return torch.randperm(len(self.lengths), generator=generator).tolist()
