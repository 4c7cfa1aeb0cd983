"""Depth by ray casting on the CPU, with Open3D."""

import numpy as np
from jaxtyping import Float32, Float64, UInt32

from toolbox.registry import RENDERERS

from .depth_renderer import DepthRenderer


@RENDERERS.register_module()
class RaycastRenderer(DepthRenderer):
    """Depth by ray casting on the CPU: exact at pixel centres, no OpenGL, no near plane, skew allowed."""

    def _set_mesh(self, vertices: Float32[np.ndarray, "n 3"], triangles: UInt32[np.ndarray, "m 3"]) -> None:
        import open3d as o3d

        # One thread builds the tree: its order decides ties on shared edges, and must not depend on the machine's load.
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            o3d.core.Tensor(np.ascontiguousarray(vertices)), o3d.core.Tensor(np.ascontiguousarray(triangles))
        )

    def _depth(
        self,
        intrinsics: Float64[np.ndarray, "3 3"],
        mesh_to_cam: Float64[np.ndarray, "4 4"],
        size: tuple[int, int],
        far: float,
    ) -> Float32[np.ndarray, "h w"]:
        import open3d as o3d

        height, width = size
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        pixels = np.stack((x, y, np.ones_like(x)), axis=-1)
        cam_to_mesh = np.linalg.inv(mesh_to_cam)
        rays = np.empty((height, width, 6), np.float32)
        rays[..., :3] = cam_to_mesh[:3, 3]
        # Directions of unit z-depth: the ray parameter of a hit is its z-depth.
        rays[..., 3:] = pixels @ (cam_to_mesh[:3, :3] @ np.linalg.inv(intrinsics)).T
        return self._scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
