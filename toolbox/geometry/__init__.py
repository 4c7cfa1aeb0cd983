"""Cameras, projection and warping: pure functions on tensors.

Conventions of the whole toolbox:

- Camera axes are OpenCV's: x right, y down, z forward. ``world_to_cam`` (4, 4) maps world to camera.
- A pixel's centre has integer coordinates: the top-left pixel is centred at (0, 0). Resizing an image by s maps
  x to (x + 0.5) s - 0.5, and so the principal point.
- Depth is z-depth in the scene's unit; 0 means unknown.
- Pixel positions are (x, y), image sizes (height, width).
- Axis names: b batch, v views, c channels, d depth hypotheses, h w image, n points.
"""

from .cameras import (
    camera_centre,
    crop_intrinsics,
    invert_rigid,
    pixel_grid,
    project,
    relative_projection,
    rigid_motion,
    scale_intrinsics,
    transform_points,
    unproject,
)
from .plane_sweep import PlaneSweep
from .planes import composite_depth, composite_weights, plane_points, warp_planes
from .ray_surface import PairProjection, inside_image, project_pairs, surface_points
from .resampling import resample_dense, resample_depth, upsample_depth
from .warping import sample_at_pixels, warp_to_reference

__all__ = [
    "PairProjection",
    "PlaneSweep",
    "camera_centre",
    "composite_depth",
    "composite_weights",
    "crop_intrinsics",
    "inside_image",
    "invert_rigid",
    "pixel_grid",
    "plane_points",
    "project",
    "project_pairs",
    "relative_projection",
    "resample_dense",
    "resample_depth",
    "rigid_motion",
    "sample_at_pixels",
    "scale_intrinsics",
    "surface_points",
    "transform_points",
    "unproject",
    "upsample_depth",
    "warp_planes",
    "warp_to_reference",
]
