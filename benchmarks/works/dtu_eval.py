"""Accuracy and completeness of a point cloud, as the DTU benchmark measures them."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.work import Run, Work
from toolbox.evaluation.dtu import DTURecipe, DTUReference, evaluate_dtu_points

_EDGE = 120.0


class DTUEval(Work):
    """A wavy sheet and a noisy reconstruction of it, in mm, as dense as DTU's.

    Attributes:
        points: the reconstruction, (n, 3).
        truth: ``DTUReference``, n points in a box that is all observed.
    """

    sizes = {
        "tiny": {"points": 2_000},
        "small": {"points": 40_000},
        "user": {"points": 3_000_000},
    }
    reference_name = "scipy, point by point"
    growth = {"points": {n: {"points": n} for n in (50_000, 100_000, 200_000, 400_000)}}

    def __init__(self, device: str, points: int):
        rng = np.random.default_rng(6)

        def sheet(noise: float) -> np.ndarray:
            # About the density of DTU's clouds, whatever their number.
            edge = _EDGE * (points / 400_000) ** 0.5
            x, y = rng.uniform(0, edge, (2, points))
            z = 10 * np.sin(0.05 * x) + 8 * np.cos(0.07 * y) + rng.normal(0, noise, points)
            return np.column_stack((x, y, z))

        self.points, cloud = sheet(0.3), sheet(0.0)
        box = np.stack((cloud.min(axis=0) - 5, cloud.max(axis=0) + 5))
        voxels = np.ceil((box[1] - box[0]) / 2).astype(int) + 1
        self.truth = DTUReference(cloud, np.ones(voxels, bool), box, 2.0, np.array([0.0, 0.0, 1.0, 100.0]))

    def ours(self) -> Run:
        """``toolbox.evaluation.dtu.evaluate_dtu_points``."""
        return lambda: measures(evaluate_dtu_points(self.points, self.truth, DTURecipe()))

    def reference(self) -> Run:
        """The same steps, neighbours of all points listed, and points thinned in a Python loop."""
        recipe = DTURecipe()

        def run() -> dict[str, Any]:
            shuffled = self.points[np.random.default_rng(recipe.seed).permutation(len(self.points))]
            neighbours = cKDTree(shuffled).query_ball_point(shuffled, recipe.min_spacing)
            kept = np.ones(len(shuffled), bool)
            for i, near in enumerate(neighbours):
                if kept[i]:
                    kept[near] = False
                    kept[i] = True
            thin = shuffled[kept]
            accuracy = cKDTree(self.truth.points).query(thin)[0]
            completeness = cKDTree(thin).query(self.truth.points)[0]
            limit = recipe.max_distance
            return measures(
                {
                    "accuracy": accuracy[accuracy < limit].mean(),
                    "completeness": completeness[completeness < limit].mean(),
                    "points_reduced": len(thin),
                }
            )

        return run


def measures(found: dict[str, float]) -> dict[str, Any]:
    """Those that are compared."""
    return {name: found[name] for name in ("accuracy", "completeness", "points_reduced")}
