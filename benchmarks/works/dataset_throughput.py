"""Samples of a multi-view stereo data set: read, resized, put together, by one process."""

from typing import Any

import numpy as np

from benchmarks.disk import SceneOnDisk
from benchmarks.scenes import table_views
from benchmarks.work import Run, Work
from toolbox.datasets import MVSDataset


class DatasetThroughput(Work):
    """Every view of a scene as reference once, images at half of their stored size.

    Attributes:
        disk: the scene and its folder.
        dataset: ``MVSDataset``.
    """

    sizes = {
        "tiny": {"views": 4, "height": 48, "width": 64, "sources": 2},
        "small": {"views": 6, "height": 240, "width": 320, "sources": 2},
        "user": {"views": 49, "height": 480, "width": 640, "sources": 4},
    }
    growth = {"views": {n: {"views": n} for n in (6, 12, 24)}}

    def __init__(self, device: str, views: int, height: int, width: int, sources: int):
        self.disk = SceneOnDisk(table_views(views, height, width), 0.05, "mm", (400.0, 1000.0))
        self.dataset = MVSDataset(self.disk.scene, num_sources=sources, size=(height // 2, width // 2))

    def ours(self) -> Run:
        """``MVSDataset``."""

        def run() -> dict[str, Any]:
            samples = [self.dataset[i] for i in range(len(self.dataset))]
            return {"mean colour": np.mean([float(sample["images"].float().mean()) for sample in samples])}

        return run
