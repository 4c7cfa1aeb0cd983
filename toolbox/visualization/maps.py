"""Depth, error and confidence maps as pictures. Unknown pixels are black."""

import cv2
import numpy as np
from jaxtyping import Num, UInt8

from .drawing import hstack, put_text

_SIGNED = np.array([[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]], np.float64)


def _coloured(unit: Num[np.ndarray, "h w"], colormap: int) -> UInt8[np.ndarray, "h w 3"]:
    """Values in [0, 1] through one of OpenCV's colour maps, as RGB."""
    grey = np.rint(np.clip(np.nan_to_num(unit), 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, colormap), cv2.COLOR_BGR2RGB)


def robust_range(depth: Num[np.ndarray, "*hw"], low: float = 0.02, high: float = 0.98) -> tuple[float, float]:
    """Quantiles of the known (positive, finite) values; (0, 1) where there are none."""
    known = depth[np.isfinite(depth) & (depth > 0)]
    if not known.size:
        return 0.0, 1.0
    near, far = np.quantile(known, (low, high))
    return float(near), float(max(far, near * (1 + 1e-6)))


def depth_to_rgb(
    depth: Num[np.ndarray, "h w"], depth_range: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Depth as colours (viridis): near is bright, far is dark, unknown (0 or non-finite) is black.

    Args:
        depth_range: (near, far) of the colours; None takes the central 96 % of the known depths. Give one range to
            pictures that are to be compared.
    """
    near, far = depth_range or robust_range(depth)
    rgb = _coloured((far - depth) / (far - near), cv2.COLORMAP_VIRIDIS)
    rgb[~(np.isfinite(depth) & (depth > 0))] = 0
    return rgb


def confidence_to_rgb(confidence: Num[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Confidence in [0, 1] as colours (cividis): blue is low, yellow is high, non-finite is black."""
    rgb = _coloured(confidence, cv2.COLORMAP_CIVIDIS)
    rgb[~np.isfinite(confidence)] = 0
    return rgb


def error_to_rgb(
    error: Num[np.ndarray, "h w"], max_error: float | None = None, signed: bool = False
) -> UInt8[np.ndarray, "h w 3"]:
    """An error map as colours; NaN (not compared) is black.

    Args:
        error: NaN where there is nothing to compare.
        max_error: error of the last colour; None takes the 95 % quantile of the absolute errors.
        signed: False: |error|, from dark (0) to bright (plasma). True: negative blue, 0 white, positive red.
    """
    limit = max_error if max_error is not None else error_limit(error)
    if signed:
        position = np.clip(np.nan_to_num(error) / limit, -1, 1) * 2 + 2
        channels = [np.interp(position, np.arange(5), _SIGNED[:, c]) for c in range(3)]
        rgb = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    else:
        rgb = _coloured(np.abs(error) / limit, cv2.COLORMAP_PLASMA)
    rgb[~np.isfinite(error)] = 0
    return rgb


def error_limit(error: Num[np.ndarray, "*hw"]) -> float:
    """The 95 % quantile of the absolute errors (at least a tiny positive number)."""
    known = np.abs(error[np.isfinite(error)])
    return max(float(np.quantile(known, 0.95)), 1e-12) if known.size else 1.0


def error_with_legend(
    error: Num[np.ndarray, "h w"], max_error: float | None = None, signed: bool = False, unit: str = ""
) -> UInt8[np.ndarray, "h w2 3"]:
    """``error_to_rgb`` with a colour bar at its right that tells the range."""
    limit = max_error if max_error is not None else error_limit(error)
    picture = error_to_rgb(error, limit, signed)
    low = -limit if signed else 0.0
    bar = error_to_rgb(np.linspace(limit, low, picture.shape[0])[:, None].repeat(16, axis=1), limit, signed)
    return hstack([picture, bar, _scale(picture.shape[0], low, limit, unit)])


def depth_with_legend(
    depth: Num[np.ndarray, "h w"], depth_range: tuple[float, float] | None = None, unit: str = ""
) -> UInt8[np.ndarray, "h w2 3"]:
    """``depth_to_rgb`` with a colour bar at its right that tells the range."""
    near, far = depth_range or robust_range(depth)
    height = depth.shape[0]
    bar = depth_to_rgb(np.linspace(near, far, height)[:, None].repeat(16, axis=1), (near, far))
    return hstack([depth_to_rgb(depth, (near, far)), bar, _scale(height, far, near, unit)])


def _scale(height: int, bottom: float, top: float, unit: str) -> UInt8[np.ndarray, "h w 3"]:
    """Numbers beside a colour bar: of its top, middle and bottom."""
    labels = [f"{value:.3g} {unit}".strip() for value in (top, (top + bottom) / 2, bottom)]
    scale = np.full((height, 12 + 8 * max(map(len, labels)), 3), 255, np.uint8)
    for label, row in zip(labels, (14, height // 2 + 4, height - 6), strict=True):
        put_text(scale, label, 4, row, (0, 0, 0))
    return scale
