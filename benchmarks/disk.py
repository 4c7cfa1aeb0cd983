"""Posed views as a scene whose files lie in a temporary folder."""

import tempfile
from pathlib import Path

import numpy as np

from toolbox.io import write_depth_png, write_image
from toolbox.structures import Scene, View

from .scenes import PosedViews


class SceneOnDisk:
    """PNG images and depth maps (16 bits) of posed views; the folder goes when this object does.

    Attributes:
        scene: its depth range is that of ``table_views``.
        folder: for results, too.
    """

    def __init__(self, seen: PosedViews, depth_step: float, unit: str, depth_range: tuple[float, float] | None = None):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        views = []
        for i, (image, depth) in enumerate(zip(seen.images, seen.depths, strict=True)):
            write_image(self.folder / f"{i}_image.png", image)
            write_depth_png(self.folder / f"{i}_depth.png", np.rint(depth / depth_step).astype(np.uint16))
            views.append(
                View(
                    id=i,
                    image_path=self.folder / f"{i}_image.png",
                    size=depth.shape,
                    intrinsics=seen.intrinsics[i],
                    world_to_cam=seen.world_to_cam[i],
                    depth_path=self.folder / f"{i}_depth.png",
                    depth_scale=depth_step,
                    depth_range=depth_range,
                    name=str(i),
                )
            )
        self.scene = Scene("benchmark", views, unit=unit)
