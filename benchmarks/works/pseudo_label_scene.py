"""Depth maps of a scene -> cloud -> surface -> depth rendered back into every view."""

from typing import Any

import numpy as np

from benchmarks.scenes import table_views
from benchmarks.surface_input import RECIPE, table_cloud
from benchmarks.work import Run, Work
from toolbox.fusion import poisson_mesh
from toolbox.rendering import RaycastRenderer


class PseudoLabelScene(Work):
    """What self-training does with a scene's depth maps, in memory.

    Attributes:
        seen: images, depths and cameras.
    """

    sizes = {
        "tiny": {"views": 5, "height": 30, "width": 40},
        "small": {"views": 6, "height": 120, "width": 160},
        "user": {"views": 49, "height": 480, "width": 640},
    }
    growth = {"views": {n: {"views": n} for n in (6, 12, 24)}}

    def __init__(self, device: str, views: int, height: int, width: int):
        self.device, self.seen = device, table_views(views, height, width)

    def ours(self) -> Run:
        """``fuse_by_consistency``, ``estimate_normals``, ``poisson_mesh``, ``RaycastRenderer``."""

        def run() -> dict[str, Any]:
            mesh = poisson_mesh(table_cloud(self.seen, self.device), RECIPE)
            renderer = RaycastRenderer()
            renderer.load((mesh.vertices, mesh.triangles))
            size = self.seen.depths.shape[1:]
            cameras = zip(self.seen.intrinsics, self.seen.world_to_cam, strict=True)
            labels = np.stack([renderer.render(k, pose, size) for k, pose in cameras])
            known = labels > 0
            error = np.abs(labels - self.seen.depths)[known] / self.seen.depths[known]
            return {"coverage": known.mean(), "median error": np.median(error)}

        return run
