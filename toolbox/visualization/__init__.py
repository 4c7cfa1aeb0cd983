"""Arrays -> pictures (RGB uint8), without a display or OpenGL."""

from .drawing import contact_sheet
from .maps import (
    confidence_to_rgb,
    depth_to_rgb,
    depth_with_legend,
    error_limit,
    error_to_rgb,
    error_with_legend,
    robust_range,
)
from .render import look_at, overview_camera, render_cloud, render_mesh

__all__ = [
    "confidence_to_rgb",
    "contact_sheet",
    "depth_to_rgb",
    "depth_with_legend",
    "error_limit",
    "error_to_rgb",
    "error_with_legend",
    "look_at",
    "overview_camera",
    "render_cloud",
    "render_mesh",
    "robust_range",
]
