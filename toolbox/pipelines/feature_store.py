"""Features of a scene's views: computed once each, held in memory up to a limit, on disk beyond it."""

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

Features = list[Tensor]


class FeatureStore:
    """Gives each view's features; the least recently used ones beyond ``max_bytes`` lie in a scratch folder.

    Use as a context manager: leaving it removes the scratch folder.

    Args:
        compute: view id -> features, called once per view.
        scratch: folder for what does not fit; made when needed.
        max_bytes: limit of what is held in memory.
        device: where the features are handed out.
    """

    def __init__(
        self,
        compute: Callable[[int], Features],
        scratch: Path,
        max_bytes: int = 4 * 2**30,
        device: torch.device | str = "cpu",
    ):
        self._compute, self._scratch, self._max_bytes, self._device = compute, Path(scratch), max_bytes, device
        self._held: OrderedDict[int, Features] = OrderedDict()
        self._spilled: set[int] = set()
        self._bytes = 0

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __getitem__(self, view_id: int) -> Features:
        if view_id in self._held:
            self._held.move_to_end(view_id)
            return self._held[view_id]
        if view_id in self._spilled:
            features = torch.load(self._file(view_id), weights_only=True, map_location=self._device)
        else:
            features = self._compute(view_id)
        self._held[view_id] = features
        self._bytes += _size(features)
        while self._bytes > self._max_bytes and len(self._held) > 1:
            self._spill(*self._held.popitem(last=False))
        return features

    def _spill(self, view_id: int, features: Features) -> None:
        self._bytes -= _size(features)
        if view_id not in self._spilled:
            self._scratch.mkdir(parents=True, exist_ok=True)
            torch.save([feature.cpu() for feature in features], self._file(view_id))
            self._spilled.add(view_id)

    def _file(self, view_id: int) -> Path:
        return self._scratch / f"{view_id:08d}.pt"


def _size(features: Features) -> int:
    return sum(feature.nbytes for feature in features)
