"""A fragment of nine views -> signed distances at sparse voxels."""

from dataclasses import replace
from typing import Any

import torch

from benchmarks.volumetric_input import SIZES, monoselfrecon, room_fragment
from benchmarks.work import Run, Work
from toolbox.structures import FragmentBatch


class VolumetricFragment(Work):
    """MonoSelfRecon's network at the paper's size: a fragment without memory, or scenes of two fragments with it.

    Attributes:
        scenes: the fragments of each, ``FragmentBatch``; both of a scene show the same place.
        model: the network.
    """

    sizes = {**SIZES, "scenes": {**SIZES["small"], "views": 3, "scenes": 4}}
    growth = {
        "views": {n: {"views": n} for n in (3, 6, 9)},
        "voxels of a side": {n: {"window": n} for n in (16, 24, 32, 48)},
        "scenes": {n: {"views": 3, "scenes": n} for n in (1, 2, 4, 8)},
    }

    def __init__(self, device: str, views: int, height: int, width: int, window: int, scenes: int = 0):
        fragment = room_fragment(views, height, width, window, device)
        self.scenes = [[_of_scene(fragment, i, first) for first in (True, False)] for i in range(scenes)]
        self.scenes = self.scenes or [[fragment]]
        self.model = monoselfrecon(device, window, remembers=scenes > 0).eval()

    def ours(self) -> Run:
        """``VolumetricReconstructor.reconstruct``."""

        @torch.no_grad()
        def run() -> dict[str, Any]:
            for fragments in self.scenes:
                for fragment in fragments:
                    prediction = self.model.reconstruct(fragment)
            return {f"voxels of level {i}": len(level) for i, level in enumerate(prediction.levels)}

        return run


def _of_scene(fragment: FragmentBatch, scene: int, first: bool) -> FragmentBatch:
    return replace(fragment, meta=[{"scene": str(scene), "first": first}])
