"""Depth metrics against numbers worked out by hand."""

import math

import pytest
import torch

from toolbox.evaluation.depth_metrics import average_metrics, constant_depth, depth_metrics, resize_prediction


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """2 x 3 pixels: one without truth, one without prediction, four compared."""
    target = torch.tensor([[2.0, 4.0, 0.0], [1.0, 10.0, 5.0]])
    prediction = torch.tensor([[2.2, 2.0, 3.0], [0.0, 10.0, 7.0]])
    return prediction, target


def test_every_metric_by_hand(pair):
    metrics = depth_metrics(*pair, thresholds=(0.25, 2.5), unit="m")
    # errors 0.2, 2, 0, 2 at truths 2, 4, 10, 5
    assert metrics["abs_rel"] == pytest.approx((0.1 + 0.5 + 0 + 0.4) / 4)
    assert metrics["median_abs_rel"] == pytest.approx(0.1), "the lower one of 0.1 and 0.4"
    assert metrics["abs_diff"] == pytest.approx((0.2 + 2 + 0 + 2) / 4)
    assert metrics["sq_rel"] == pytest.approx((0.02 + 1 + 0 + 0.8) / 4)
    assert metrics["rmse"] == pytest.approx(math.sqrt((0.04 + 4 + 0 + 4) / 4))
    logs = math.log(1.1) ** 2 + math.log(2) ** 2 + math.log(1.4) ** 2
    assert metrics["log_rmse"] == pytest.approx(math.sqrt(logs / 4))
    # ratios 1.1, 2, 1, 1.4
    assert [metrics[f"delta_1.25{n}"] for n in ("", "^2", "^3")] == [0.5, 0.75, 0.75]
    assert metrics["within_0.25m"] == 0.5
    assert metrics["within_2.5m"] == 1.0
    assert metrics["coverage"] == pytest.approx(4 / 5)


def test_a_perfect_prediction(pair):
    target = pair[1]
    metrics = depth_metrics(target, target, thresholds=(2,), unit="mm")
    assert metrics == {
        **dict.fromkeys(("abs_rel", "median_abs_rel", "abs_diff", "sq_rel", "rmse", "log_rmse"), 0.0),
        **dict.fromkeys(("delta_1.25", "delta_1.25^2", "delta_1.25^3", "within_2mm", "coverage"), 1.0),
    }


@pytest.mark.parametrize("missing", [0.0, -3.0, math.nan, math.inf])
def test_missing_predictions_lower_the_coverage_only(missing):
    target = torch.tensor([[2.0, 4.0]])
    metrics = depth_metrics(torch.tensor([[2.2, missing]]), target)
    assert metrics["abs_rel"] == pytest.approx(0.1)
    assert metrics["coverage"] == 0.5


def test_limits_and_mask_choose_the_truth_pixels(pair):
    prediction, target = pair
    # (2, 10) leaves truths 4 and 5; both limits are exclusive.
    assert depth_metrics(prediction, target, min_depth=2, max_depth=10)["abs_rel"] == pytest.approx(0.45)
    only = torch.zeros(2, 3, dtype=torch.bool)
    only[0, 0] = True
    assert depth_metrics(prediction, target, valid=only)["abs_rel"] == pytest.approx(0.1)


@pytest.mark.parametrize("truth", [math.nan, math.inf, -1.0, 0.0])
def test_unknown_truth_counts_nowhere(truth):
    metrics = depth_metrics(torch.tensor([[1.0, 3.0]]), torch.tensor([[truth, 2.0]]))
    assert metrics["abs_diff"] == 1.0
    assert metrics["coverage"] == 1.0


def test_the_two_averages_differ_where_images_differ_in_size_of_truth():
    prediction = torch.full((2, 1, 4), 3.0)
    target = torch.tensor([[[2.0, 2.0, 2.0, 2.0]], [[3.0, 0.0, 0.0, 0.0]]])
    assert depth_metrics(prediction, target)["abs_rel"] == pytest.approx((0.5 + 0) / 2)
    assert depth_metrics(prediction, target, average="pixel")["abs_rel"] == pytest.approx(4 * 0.5 / 5)
    # The pooled root is the root of the pooled mean, not a mean of roots.
    assert depth_metrics(prediction, target, average="pixel")["rmse"] == pytest.approx(math.sqrt(4 / 5))


def test_limits_are_strict_in_the_truths_own_precision():
    """0.3 m read from millimetres is a little more than 0.3 as a double, and no more than 0.3 as a float."""
    target = torch.tensor([[300.0, 1000.0, 4000.0]]) * 0.001
    metrics = depth_metrics(target + torch.tensor([[1.0, 0.04, 1.0]]), target, None, (0.05,), "m", 0.3, 4)
    assert metrics["abs_diff"] == pytest.approx(0.04, rel=1e-5)
    assert metrics["within_0.05m"] == 1.0


def test_medians_of_images_are_averaged():
    target = torch.tensor([[[2.0, 2.0, 2.0]], [[4.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]])
    prediction = torch.tensor([[[2.2, 2.4, 9.0]], [[6.0, 1.0, 1.0]], [[1.0, 1.0, 1.0]]])
    assert depth_metrics(prediction, target)["median_abs_rel"] == pytest.approx((0.2 + 0.5) / 2)
    pooled = depth_metrics(prediction, target, average="pixel")["median_abs_rel"]
    assert pooled == pytest.approx((3 * 0.2 + 0.5) / 4)


def test_an_image_without_prediction_counts_in_coverage_and_not_in_errors():
    target = torch.full((2, 2, 3), 2.0)
    prediction = torch.stack((torch.full((2, 3), 2.2), torch.zeros(2, 3)))
    metrics = depth_metrics(prediction, target)
    assert metrics["abs_rel"] == pytest.approx(0.1)
    assert metrics["coverage"] == 0.5


def test_nothing_to_compare_is_nan():
    metrics = depth_metrics(torch.ones(2, 3), torch.zeros(2, 3))
    assert math.isnan(metrics["abs_rel"])
    assert math.isnan(metrics["coverage"])


def test_smaller_predictions_are_resized_with_half_pixel_centres():
    height, width = 8, 12
    y, x = torch.meshgrid(torch.arange(height, dtype=torch.float32), torch.arange(width).float(), indexing="ij")
    plane = 5 + 0.1 * x + 0.2 * y
    coarse = 5 + 0.1 * (2 * x[:4, :6] + 0.5) + 0.2 * (2 * y[:4, :6] + 0.5)
    inner = torch.zeros(height, width, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    assert depth_metrics(coarse, plane, valid=inner)["abs_diff"] == pytest.approx(0, abs=1e-6)


def test_a_missing_pixel_is_never_mixed_into_its_neighbours():
    coarse = torch.full((4, 6), 3.0)
    coarse[1, 2] = 0
    fine = resize_prediction(coarse, (8, 12))
    assert set(fine.unique().tolist()) == {0.0, 3.0}
    assert (fine == 0).sum() == 16


def test_unknown_average_is_refused():
    with pytest.raises(ValueError, match="average is one of"):
        average_metrics([], "mean")


def test_the_constant_is_the_median_of_the_truth():
    target = torch.tensor([[0.0, 1.0, 2.0], [9.0, 0.0, math.nan]])
    assert torch.equal(constant_depth(target), torch.full((2, 3), 2.0))
    assert torch.equal(constant_depth(torch.zeros(2, 3)), torch.zeros(2, 3))
