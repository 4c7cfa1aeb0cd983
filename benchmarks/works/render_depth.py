"""A mesh -> depth maps of some views."""

from typing import Any

import numpy as np

from benchmarks.scenes import table_views
from benchmarks.surface_input import table_mesh
from benchmarks.work import Run, Work
from toolbox.rendering import RaycastRenderer


class RenderDepth(Work):
    """The mesh is loaded once and rendered from every view, as for pseudo labels.

    Attributes:
        mesh: ``TriangleMesh`` with about two triangles for each pixel of a mesh_height x 4/3 mesh_height image.
        seen: the cameras.
    """

    sizes = {
        "tiny": {"views": 2, "height": 24, "width": 32, "mesh_height": 31},
        "small": {"views": 4, "height": 120, "width": 160, "mesh_height": 63},
        "user": {"views": 49, "height": 480, "width": 640, "mesh_height": 600},
    }
    reference_name = "numpy z-buffer, triangle by triangle"
    growth = {
        "pixels": {h * w: {"height": h, "width": w} for h, w in ((120, 160), (240, 320), (480, 640))},
        "triangles": {8 * n * n // 3: {"mesh_height": n} for n in (63, 126, 252, 504)},
        "views": {n: {"views": n} for n in (4, 8, 16)},
    }

    def __init__(self, device: str, views: int, height: int, width: int, mesh_height: int):
        self.mesh, self.seen = table_mesh(mesh_height, mesh_height * 4 // 3), table_views(views, height, width)

    def ours(self) -> Run:
        """``toolbox.rendering.RaycastRenderer``."""

        def run() -> dict[str, Any]:
            renderer = RaycastRenderer()
            renderer.load((self.mesh.vertices, self.mesh.triangles))
            size = self.seen.depths.shape[1:]
            cameras = zip(self.seen.intrinsics, self.seen.world_to_cam, strict=True)
            return {"depth": np.stack([renderer.render(k, pose, size) for k, pose in cameras])}

        return run

    def reference(self) -> Run:
        """Each triangle's pixels by barycentric coordinates, inverse depth linear in them."""

        def run() -> dict[str, Any]:
            cameras = zip(self.seen.intrinsics, self.seen.world_to_cam, strict=True)
            return {"depth": np.stack([self.rasterise(k, pose) for k, pose in cameras])}

        return run

    def rasterise(self, intrinsics: np.ndarray, world_to_cam: np.ndarray) -> np.ndarray:
        """One depth map (h, w), 0 where there is nothing."""
        height, width = self.seen.depths.shape[1:]
        projected = (self.mesh.vertices @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]) @ intrinsics.T
        pixels, nearness = projected[:, :2] / projected[:, 2:], 1 / projected[:, 2]
        buffer = np.zeros((height, width))
        for triangle in self.mesh.triangles:
            (ax, ay), (bx, by), (cx, cy) = corners = pixels[triangle]
            area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
            low = np.maximum(np.ceil(corners.min(axis=0)), 0).astype(int)
            high = np.minimum(np.floor(corners.max(axis=0)), (width - 1, height - 1)).astype(int)
            if area == 0 or (low > high).any() or (nearness[triangle] <= 0).any():
                continue
            x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
            b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
            c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
            inside = (b >= 0) & (c >= 0) & (b + c <= 1)
            here = nearness[triangle] @ np.stack((1 - b - c, b, c)).reshape(3, -1)
            part = buffer[low[1] : high[1] + 1, low[0] : high[0] + 1]
            np.maximum(part, np.where(inside, here.reshape(x.shape), 0), out=part)
        return np.divide(1, buffer, out=np.zeros_like(buffer), where=buffer > 0)
