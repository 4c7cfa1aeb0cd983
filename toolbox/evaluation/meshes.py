"""How far a mesh is from ground truth.

Both are taken as points: a mesh by its vertices (Murez et al., "Atlas", ECCV 2020, whose numbers NeuralRecon and its
followers report), averaged in voxels of ``voxel``. With d the distance to the nearest point of the other cloud:

============  ====================================================== ====
accuracy      mean d from the prediction to the truth                unit
completeness  mean d from the truth to the prediction                unit
chamfer       mean of accuracy and completeness                      unit
precision     share of the prediction with d < threshold
recall        share of the truth with d < threshold
f_score       2 precision recall / (precision + recall)
============  ====================================================== ====

Distances are in the world's unit (metres in every published number). Meshes of other completeness or vertex density
give other numbers: compare results of one protocol only (``toolbox.evaluation.mesh_protocols``).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num

from toolbox.errors import UserError

from .clouds import finite_points, nearest_distances, search_tree
from .tanks import average_in_voxels

THRESHOLD = 0.05
VOXEL = 0.02
MESH_METRICS = ("accuracy", "completeness", "chamfer", "precision", "recall", "f_score")


def metrics_from_distances(
    to_truth: Float[np.ndarray, " n"],
    to_prediction: Float[np.ndarray, " m"],
    threshold: float = THRESHOLD,
    strict: bool = True,
) -> dict[str, float]:
    """The metrics of the module from the distances of both clouds' points to the other cloud.

    Args:
        to_truth: of the predicted points; none: nothing was predicted, and accuracy, completeness and chamfer are NaN.
        to_prediction: of the points of the truth.
        strict: count d < threshold; else d <= threshold.
    """
    if not len(to_truth):
        nothing = dict.fromkeys(("accuracy", "completeness", "chamfer"), math.nan)
        return nothing | dict.fromkeys(("precision", "recall", "f_score"), 0.0)
    near = np.less if strict else np.less_equal
    accuracy, completeness = float(to_truth.mean()), float(to_prediction.mean())
    precision, recall = float(near(to_truth, threshold).mean()), float(near(to_prediction, threshold).mean())
    both = precision + recall
    return {
        "accuracy": accuracy,
        "completeness": completeness,
        "chamfer": (accuracy + completeness) / 2,
        "precision": precision,
        "recall": recall,
        "f_score": 2 * precision * recall / both if both else 0.0,
    }


def mesh_metrics(
    predicted: Num[np.ndarray, "n 3"],
    truth: Num[np.ndarray, "m 3"],
    threshold: float = THRESHOLD,
    voxel: float | None = VOXEL,
    workers: int = 1,
) -> dict[str, float]:
    """Metrics of a predicted mesh's vertices against those of the true one (see the module).

    Args:
        predicted: may be empty: nothing was predicted.
        voxel: edge of the voxels in which points are averaged first; None takes the points as they are.
        workers: threads of the search.

    Raises:
        UserError: the truth has no finite point, or a setting makes no sense.
    """
    if not threshold > 0 or (voxel is not None and not voxel > 0):
        raise UserError("mesh metrics", f"threshold {threshold} and voxel {voxel} must be positive", "Correct them")
    own, true = (finite_points(points.astype(np.float64)) for points in (predicted, truth))
    if not len(true):
        raise UserError("the ground-truth mesh", "has no finite vertex", "Give the scene's mesh")
    if voxel is not None:
        own, true = (average_in_voxels(points, voxel) if len(points) else points for points in (own, true))
    return _between(own, true, threshold, workers)


def _between(own: np.ndarray, true: np.ndarray, threshold: float, workers: int) -> dict[str, float]:
    if not len(own):
        return metrics_from_distances(np.zeros(0), np.zeros(0), threshold)
    return metrics_from_distances(
        nearest_distances(own, search_tree(true), workers=workers),
        nearest_distances(true, search_tree(own), workers=workers),
        threshold,
    )


def average_mesh_metrics(scenes: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over scenes that have it, each scene counting the same; NaN where none has it.

    Raises:
        ValueError: there is no scene.
    """
    if not scenes:
        raise ValueError("there is no scene to average over")
    values = {name: [s[name] for s in scenes if not math.isnan(s[name])] for name in MESH_METRICS}
    return {name: float(np.mean(known)) if known else math.nan for name, known in values.items()}
