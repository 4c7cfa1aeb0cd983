"""Depth metrics over a data set, for mmengine's validation and test loops."""

import math
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric
from torch import Tensor

from toolbox.errors import UserError
from toolbox.registry import METRICS

from .depth_metrics import AVERAGES, average_metrics, constant_depth, depth_error_sums, metrics_from_sums


@METRICS.register_module()
class DepthMetric(BaseMetric):
    """Depth error against ground truth over a data set; ``depth_metrics`` holds the definitions.

    Takes the dicts of ``predict`` mode: 'depth' (H, W), 'gt_depth' (H, W) or None, 'depth_levels' (finest first) and
    'meta' with 'scene' and 'view_id'. Names carry the prefix 'depth/'; 'depth/abs_rel_level1' and up are the coarser
    levels, each resized to the ground truth's grid, so that the gain from level to level shows.

    Args:
        thresholds: of the within fractions, in the scene's unit, e.g. (2, 4, 8) for DTU.
        unit: of depth, 'm' or 'mm'; names the within fractions.
        min_depth, max_depth: ground truth counts in (min_depth, max_depth), both strict.
        average: 'image' (per image, then over images) or 'pixel' (pooled).
        levels: report the absolute relative error of the coarser levels, too.
        baseline: report 'baseline_abs_rel', that of the median of each image's own ground truth.
    """

    default_prefix = "depth"

    def __init__(
        self,
        thresholds: Sequence[float | int] = (),
        unit: str = "",
        min_depth: float | int = 0.0,
        max_depth: float | int = math.inf,
        average: str = "image",
        levels: bool = True,
        baseline: bool = True,
        prefix: str | None = None,
    ):
        # 'gpu' means gathering through the process group, which gloo does as well; 'cpu' would go through pickle files
        # in the working directory.
        super().__init__(collect_device="gpu", prefix=prefix)
        if average not in AVERAGES:
            raise UserError(
                "DepthMetric.average", f"'{average}' is none of {', '.join(AVERAGES)}", "Choose one of them"
            )
        if not min_depth < max_depth:
            raise UserError(
                "DepthMetric", f"min_depth {min_depth} is not below max_depth {max_depth}", "Give min_depth < max_depth"
            )
        self.thresholds, self.unit = tuple(thresholds), unit
        self.limits = {"min_depth": min_depth, "max_depth": max_depth}
        self.average, self.levels, self.baseline = average, levels, baseline
        self.report: dict = {}

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Reduce each prediction to its sums."""
        self.results += [self._reduce(sample) for sample in data_samples]

    def _reduce(self, sample: dict) -> dict:
        meta = sample.get("meta") or {}
        record = {"scene": str(meta.get("scene", "")), "view": meta.get("view_id")}
        target = sample.get("gt_depth")
        if target is None:
            return record
        guesses = {"": sample["depth"]}
        if self.levels:
            guesses |= {f"_level{k}": depth for k, depth in enumerate(sample.get("depth_levels") or []) if k > 0}
        if self.baseline:
            guesses["baseline"] = constant_depth(target, **self.limits)
        return record | {"sums": {name: self._sums(guess, target) for name, guess in guesses.items()}}

    def _sums(self, prediction: Tensor, target: Tensor) -> dict[str, float]:
        return depth_error_sums(
            prediction.float(), target.float(), thresholds=self.thresholds, unit=self.unit, **self.limits
        )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Metrics of the whole data set; ``report`` then holds the recipe, the counts and every image's numbers.

        Raises:
            UserError: no image has ground truth.
        """
        known = [record for record in results if record.get("sums") and record["sums"][""]["truth_pixels"] > 0]
        if not known:
            raise UserError(
                "DepthMetric",
                f"none of the {len(results)} images has ground-truth depth within the limits",
                "Evaluate on a data set with depth, or remove DepthMetric from the config",
            )
        metrics = average_metrics([record["sums"][""] for record in known], self.average)
        for name in sorted({name for record in known for name in record["sums"]} - {"", "baseline"}):
            sums = [record["sums"][name] for record in known if name in record["sums"]]
            metrics[f"abs_rel{name}"] = average_metrics(sums, self.average)["abs_rel"]
        if self.baseline:
            sums = [record["sums"]["baseline"] for record in known]
            metrics["baseline_abs_rel"] = average_metrics(sums, self.average)["abs_rel"]
        self.report = {"recipe": self._recipe(), "counts": _counts(results, known), "images": _per_image(known)}
        return metrics

    def _recipe(self) -> dict:
        return {
            "metric": type(self).__name__,
            "unit": self.unit,
            "thresholds": list(self.thresholds),
            **{name: None if math.isinf(limit) else limit for name, limit in self.limits.items()},
            "average": self.average,
            "compared pixels": "ground truth finite and within the limits, prediction finite and positive",
        }


def _counts(results: list[dict], known: list[dict]) -> dict[str, int]:
    sums = [record["sums"][""] for record in known]
    return {
        "images": len(results),
        "images_without_ground_truth": len(results) - len(known),
        "images_without_prediction": sum(s["pixels"] == 0 for s in sums),
        "truth_pixels": int(sum(s["truth_pixels"] for s in sums)),
        "compared_pixels": int(sum(s["pixels"] for s in sums)),
    }


def _per_image(known: list[dict]) -> list[dict]:
    return [{"scene": r["scene"], "view": r["view"]} | metrics_from_sums(r["sums"][""]) for r in known]
