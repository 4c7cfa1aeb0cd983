"""A fragment of nine views -> signed distances at sparse voxels."""

from typing import Any

import torch

from benchmarks.volumetric_input import SIZES, monoselfrecon, room_fragment
from benchmarks.work import Run, Work


class VolumetricFragment(Work):
    """MonoSelfRecon's network at the paper's size, without memory.

    Attributes:
        batch: ``FragmentBatch``.
        model: the network.
    """

    sizes = SIZES
    growth = {
        "views": {n: {"views": n} for n in (3, 6, 9)},
        "voxels of a side": {n: {"window": n} for n in (16, 24, 32, 48)},
    }

    def __init__(self, device: str, views: int, height: int, width: int, window: int):
        self.batch = room_fragment(views, height, width, window, device)
        self.model = monoselfrecon(device, window).eval()

    def ours(self) -> Run:
        """``VolumetricReconstructor.reconstruct``."""

        @torch.no_grad()
        def run() -> dict[str, Any]:
            prediction = self.model.reconstruct(self.batch)
            return {f"voxels of level {i}": len(level) for i, level in enumerate(prediction.levels)}

        return run
