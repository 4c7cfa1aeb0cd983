"""The table as exact depth maps to fuse, as a cloud, and as a mesh."""

import numpy as np

from toolbox.fusion import FusionRecipe, FusionView, PointCloud, TriangleMesh, estimate_normals, fuse_by_consistency

from .scenes import PosedViews, table_views

RECIPE = FusionRecipe(num_sources=4)


def fusion_views(seen: PosedViews) -> list[FusionView]:
    """Views that give their arrays."""
    return [
        FusionView(
            i,
            seen.intrinsics[i],
            seen.world_to_cam[i],
            depth=lambda i=i: seen.depths[i],
            image=lambda i=i: seen.images[i],
        )
        for i in range(len(seen.depths))
    ]


def table_cloud(seen: PosedViews, device: str = "cpu") -> PointCloud:
    """The fused cloud, with normals."""
    cloud, _ = fuse_by_consistency(fusion_views(seen), seen.nearest(4), RECIPE, device=device)
    centres = {i: -pose[:3, :3].T @ pose[:3, 3] for i, pose in enumerate(seen.world_to_cam)}
    return estimate_normals(cloud, centres, RECIPE)


def table_mesh(height: int, width: int) -> TriangleMesh:
    """Two triangles between neighbouring pixels of one view, without those across edges of depth."""
    seen = table_views(1, height, width)
    depth, world_to_cam = seen.depths[0].astype(np.float64), seen.world_to_cam[0]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    in_camera = np.stack((x, y, np.ones_like(x)), axis=-1) @ np.linalg.inv(seen.intrinsics[0]).T * depth[..., None]
    points = ((in_camera - world_to_cam[:3, 3]) @ world_to_cam[:3, :3]).reshape(-1, 3)
    index = np.arange(height * width).reshape(height, width)
    corners = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate(
        [np.stack([corners[i] for i in chosen], axis=-1).reshape(-1, 3) for chosen in ((0, 2, 1), (0, 3, 2))]
    )
    depths = depth.reshape(-1)[triangles]
    triangles = triangles[np.ptp(depths, axis=1) < 0.02 * depths.mean(axis=1)]
    return TriangleMesh(points.astype(np.float32), triangles.astype(np.int32), seen.images[0].reshape(-1, 3))
