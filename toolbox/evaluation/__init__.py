"""Functional metrics and their mmengine wrappers."""

from .depth_metric import DepthMetric
from .depth_metrics import average_metrics, constant_depth, depth_error_sums, depth_metrics, metrics_from_sums

__all__ = [
    "DepthMetric",
    "average_metrics",
    "constant_depth",
    "depth_error_sums",
    "depth_metrics",
    "metrics_from_sums",
]
