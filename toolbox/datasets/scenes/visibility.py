"""Which views see which points, where the source does not say."""

import numpy as np

from toolbox.structures import SparsePoints, View


def project_into(xyz: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel positions (N, 2), z-depths (N,) and whether the points (N, 3) fall into the view's image (N,)."""
    in_camera = xyz @ view.world_to_cam[:3, :3].T + view.world_to_cam[:3, 3]
    depth = in_camera[:, 2]
    front = depth > 1e-9
    safe = np.where(front, depth, 1.0)
    pixels = (in_camera @ view.intrinsics.T)[:, :2] / safe[:, None]
    height, width = view.size
    inside = (pixels > -0.5).all(axis=1) & (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
    return pixels, depth, front & inside


def points_in_frusta(xyz: np.ndarray, views: list[View]) -> SparsePoints | None:
    """Points with the views in whose image they fall, occlusion not considered; None where no view sees any."""
    seen = np.stack([project_into(xyz, view)[2] for view in views], axis=1)
    keep = seen.any(axis=1)
    if not keep.any():
        return None
    ids = np.array([view.id for view in views])
    return SparsePoints(xyz[keep], [ids[row] for row in seen[keep]])
