"""A cloud with normals -> a trimmed surface."""

from typing import Any

import numpy as np

from benchmarks.scenes import table_views
from benchmarks.surface_input import RECIPE, table_cloud
from benchmarks.work import Run, Work
from toolbox.fusion import poisson_mesh


class Poisson(Work):
    """Screened Poisson and trimming; Open3D solves it on one thread.

    Attributes:
        cloud: fused from exact depth maps of a table.
    """

    sizes = {
        "tiny": {"views": 5, "height": 30, "width": 40},
        "small": {"views": 6, "height": 120, "width": 160},
        "user": {"views": 12, "height": 480, "width": 640},
    }
    # A view's pixels; the cloud has 1.4 points for each.
    growth = {"pixels": {h * w: {"height": h, "width": w} for h, w in ((60, 80), (120, 160), (240, 320), (480, 640))}}

    def __init__(self, device: str, views: int, height: int, width: int):
        self.cloud = table_cloud(table_views(views, height, width))

    def ours(self) -> Run:
        """``toolbox.fusion.poisson_mesh``."""

        def run() -> dict[str, Any]:
            mesh = poisson_mesh(self.cloud, RECIPE)
            return {"centre": mesh.vertices.mean(axis=0), "triangles": np.array(len(mesh.triangles))}

        return run
