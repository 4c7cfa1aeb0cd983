"""Depth maps of one camera as another camera would see them."""

import numpy as np


def register_depth(
    depth: np.ndarray,
    depth_intrinsics: np.ndarray,
    depth_to_colour: np.ndarray,
    colour_intrinsics: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Render a depth map into another camera: every pixel a point, the nearest point of each target pixel wins.

    Args:
        depth: (H, W) z-depth, 0 where unknown.
        depth_intrinsics, colour_intrinsics: (3, 3) of the two cameras.
        depth_to_colour: (4, 4) rigid, the depth camera's frame to the other camera's, in the depth's unit.
        size: (height, width) of the result.

    Returns:
        float64 z-depth in the other camera, 0 where no point falls.
    """
    v, u = np.nonzero(depth > 0)
    z = depth[v, u].astype(np.float64)
    rays = np.stack((u, v, np.ones_like(u)), axis=1) @ np.linalg.inv(depth_intrinsics).T
    points = rays * z[:, None] @ depth_to_colour[:3, :3].T + depth_to_colour[:3, 3]
    points = points[points[:, 2] > 0]
    projected = points @ colour_intrinsics.T
    x, y = np.rint(projected[:, :2] / projected[:, 2:]).astype(np.int64).T
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    nearest = np.full(size[0] * size[1], np.inf)
    np.minimum.at(nearest, y[inside] * size[1] + x[inside], points[inside, 2])
    return np.where(np.isfinite(nearest), nearest, 0.0).reshape(size)
