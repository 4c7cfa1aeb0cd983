"""Functional metrics and their mmengine wrappers."""

from .depth_metric import DepthMetric
from .depth_metrics import average_metrics, constant_depth, depth_error_sums, depth_metrics, metrics_from_sums
from .mesh_measures import PROTOCOLS, MeshJob, MeshMeasures, check_measurable, measure_mesh
from .mesh_metric import MeshMetric

__all__ = [
    "PROTOCOLS",
    "DepthMetric",
    "MeshJob",
    "MeshMeasures",
    "MeshMetric",
    "average_metrics",
    "check_measurable",
    "constant_depth",
    "depth_error_sums",
    "depth_metrics",
    "measure_mesh",
    "metrics_from_sums",
]
