"""The data-set metric: levels, baseline, counts, and what it refuses."""

import json

import pytest
import torch

from toolbox.errors import UserError
from toolbox.evaluation import DepthMetric
from toolbox.registry import METRICS


def sample(offset: float, with_truth: bool = True) -> dict:
    """A prediction that is off by ``offset``, twice that at the coarse level, of a depth of 2 and 4."""
    target = torch.full((6, 8), 2.0)
    target[:, 5:] = 4.0
    depth = target + offset
    coarse = torch.full((3, 4), 2.0 + 2 * offset)
    return {
        "depth": depth,
        "depth_levels": [depth, coarse],
        "confidence": torch.ones(6, 8),
        "gt_depth": target if with_truth else None,
        "depth_range": torch.tensor([1.0, 5.0]),
        "meta": {"scene": "desk", "view_id": 7},
    }


def test_it_is_built_by_name_and_evaluates_a_data_set():
    metric = METRICS.build({"type": "DepthMetric", "thresholds": [0.15], "unit": "m"})
    metric.process(None, [sample(0.1)])
    metric.process(None, [sample(0.2), sample(0.0, with_truth=False)])
    metrics = metric.evaluate(3)
    weights = 5 / 8 / 2 + 3 / 8 / 4  # mean of 1 / truth
    assert metrics["depth/abs_rel"] == pytest.approx(0.15 * weights, rel=1e-4)
    assert metrics["depth/within_0.15m"] == 0.5
    assert metrics["depth/coverage"] == 1.0
    coarse = [5 / 8 * 2 * o / 2 + 3 / 8 * (2 - 2 * o) / 4 for o in (0.1, 0.2)]
    assert metrics["depth/abs_rel_level1"] == pytest.approx(sum(coarse) / 2, rel=1e-4)
    assert metrics["depth/baseline_abs_rel"] == pytest.approx(3 / 8 * 0.5, rel=1e-6)
    assert not metric.results


def test_the_report_tells_recipe_counts_and_images_as_json():
    metric = DepthMetric(thresholds=(2, 4), unit="mm", max_depth=3.0)
    empty = sample(0.0)
    empty["depth"] = torch.zeros(6, 8)
    metric.process(None, [sample(0.1), empty, sample(0.1, with_truth=False)])
    metric.evaluate(3)
    report = json.loads(json.dumps(metric.report))
    assert report["recipe"]["thresholds"] == [2, 4]
    assert report["recipe"]["unit"] == "mm"
    assert report["recipe"]["max_depth"] == 3.0
    assert report["counts"] == {
        "images": 3,
        "images_without_ground_truth": 1,
        "images_without_prediction": 1,
        "truth_pixels": 60,
        "compared_pixels": 30,
    }
    assert [(image["scene"], image["view"]) for image in report["images"]] == [("desk", 7), ("desk", 7)]


def test_levels_and_baseline_can_be_left_out():
    metric = DepthMetric(levels=False, baseline=False)
    metric.process(None, [sample(0.1)])
    assert not [name for name in metric.evaluate(1) if "level" in name or "baseline" in name]


def test_no_ground_truth_at_all_is_an_error():
    metric = DepthMetric()
    metric.process(None, [sample(0.1, with_truth=False)])
    with pytest.raises(UserError, match="none of the 1 images has ground-truth depth"):
        metric.evaluate(1)


@pytest.mark.parametrize("options", [{"average": "median"}, {"min_depth": 3.0, "max_depth": 3.0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(UserError):
        DepthMetric(**options)
