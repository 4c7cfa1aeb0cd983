"""How far predicted depth is from ground truth.

Definition, for every number reported by the toolbox:

- A *truth pixel* has a finite ground-truth depth in (``min_depth``, ``max_depth``), both strict, and is not masked out.
- A truth pixel is *compared* where the prediction is finite and positive. Zero, negative and non-finite predictions are
  missing: they lower ``coverage`` and count nowhere else. (A fraction times the coverage is the share of all truth
  pixels.)
- Predictions on another grid are first resized bilinearly to the ground truth's (pixel centres at half-integers of the
  image's extent; a pixel that would mix in a missing one is missing).
- ``average='image'``: each number is taken per image, then averaged over the images that have it; ``'pixel'``: all
  compared pixels are pooled. With p predicted, g true depth, over the compared pixels:

  ==============  ===================================== ============
  abs_rel         mean |p - g| / g                       no unit
  median_abs_rel  median |p - g| / g of an image         no unit
  abs_diff        mean |p - g|                           scene's unit
  sq_rel          mean (p - g)^2 / g                     scene's unit
  rmse            sqrt(mean (p - g)^2)                   scene's unit
  log_rmse        sqrt(mean (ln p - ln g)^2)             no unit
  delta_1.25^n    share with max(p/g, g/p) < 1.25^n      no unit
  within_<t>      share with \\|p - g\\| < t (t with its unit) no unit
  coverage        compared pixels / truth pixels         no unit
  ==============  ===================================== ============

  Medians cannot be pooled: with ``'pixel'``, median_abs_rel is the mean of the images' medians, weighted by their
  compared pixels. (Of an even number of pixels, the median is the lower one of the two in the middle.)

(Eigen et al., "Depth Map Prediction from a Single Image", 2014, for all but the median and the last two.)
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

DELTAS = {"delta_1.25": 1.25, "delta_1.25^2": 1.25**2, "delta_1.25^3": 1.25**3}
_ROOTS = ("rmse", "log_rmse")
AVERAGES = ("image", "pixel")


def resize_prediction(prediction: Float[Tensor, "*b hs ws"], size: tuple[int, int]) -> Float[Tensor, "*b h w"]:
    """Predicted depth on a grid of ``size`` (height, width) over the same image, bilinear; 0 where missing.

    A pixel to which a missing one (zero, negative, not finite) would contribute is missing.
    """
    known = torch.isfinite(prediction) & (prediction > 0)
    depth = torch.where(known, prediction, torch.zeros_like(prediction))
    if prediction.shape[-2:] == torch.Size(size):
        return depth
    planes = torch.stack((depth, known.to(depth.dtype))).reshape(-1, 1, *prediction.shape[-2:])
    resized = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
    smooth, share = resized.reshape(2, *prediction.shape[:-2], *size)
    return torch.where(share > 1 - 1e-4, smooth, torch.zeros_like(smooth))


def depth_error_sums(
    prediction: Float[Tensor, "hs ws"],
    target: Float[Tensor, "h w"],
    valid: Bool[Tensor, "h w"] | None = None,
    thresholds: Sequence[float | int] = (),
    unit: str = "",
    min_depth: float | int = 0.0,
    max_depth: float | int = math.inf,
) -> dict[str, float]:
    """Sums over the pixels of one image, from which ``metrics_from_sums`` makes means; see the module for terms.

    Args:
        prediction: depth in the scene's unit, any size.
        target: ground truth in the scene's unit, 0 where unknown.
        valid: pixels to take; all of them when None.
        thresholds: t of the ``within_<t><unit>`` fractions, in the scene's unit.
        unit: of depth, for the names.
        min_depth, max_depth: ground truth counts in (min_depth, max_depth), both strict.

    Returns:
        'truth_pixels' and 'pixels' (compared), then a sum per metric (of squares for rmse and log_rmse; of the median,
        its multiple by 'pixels').
    """
    truth = _truth_pixels(target, valid, min_depth, max_depth)
    target = target.double()
    resized = resize_prediction(prediction.double(), (target.shape[-2], target.shape[-1]))
    compared = truth & (resized > 0)
    p, g = resized[compared], target[compared]
    difference = (p - g).abs()
    ratio = torch.maximum(p / g, g / p)
    terms = {
        "abs_rel": difference / g,
        "abs_diff": difference,
        "sq_rel": difference**2 / g,
        "rmse": difference**2,
        "log_rmse": (p.log() - g.log()) ** 2,
        **{name: (ratio < limit).double() for name, limit in DELTAS.items()},
        **{f"within_{t:g}{unit}": (difference < t).double() for t in thresholds},
    }
    pixels = len(p)
    counts = {"truth_pixels": float(truth.sum()), "pixels": float(pixels)}
    median = terms["abs_rel"].median().item() if pixels else 0.0
    return counts | {name: term.sum().item() for name, term in terms.items()} | {"median_abs_rel": median * pixels}


def _truth_pixels(
    target: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"] | None, min_depth: float | int, max_depth: float | int
) -> Bool[Tensor, "h w"]:
    truth = torch.isfinite(target) & (target > max(min_depth, 0.0)) & (target < max_depth)
    return truth if valid is None else truth & valid


def metrics_from_sums(sums: dict[str, float]) -> dict[str, float]:
    """Means from the sums of one image or of many; NaN where there is no pixel to take a mean over."""
    truth, pixels = sums["truth_pixels"], sums["pixels"]
    metrics = {
        name: total / pixels if pixels else math.nan
        for name, total in sums.items()
        if name not in ("truth_pixels", "pixels")
    }
    metrics |= {name: math.sqrt(metrics[name]) for name in _ROOTS}
    return metrics | {"coverage": pixels / truth if truth else math.nan}


def average_metrics(images: Sequence[dict[str, float]], average: str = "image") -> dict[str, float]:
    """One set of metrics from the sums of several images; see the module for the two averages.

    Raises:
        ValueError: ``average`` is neither 'image' nor 'pixel', or there is no image.
    """
    if average not in AVERAGES:
        raise ValueError(f"average is one of {AVERAGES}, not '{average}'")
    if not images:
        raise ValueError("there is no image to average over")
    if average == "pixel":
        return metrics_from_sums({name: sum(sums[name] for sums in images) for name in images[0]})
    per_image = [metrics_from_sums(sums) for sums in images]
    return {name: _mean([metrics[name] for metrics in per_image]) for name in per_image[0]}


def _mean(values: Sequence[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def depth_metrics(
    prediction: Float[Tensor, "*b hs ws"],
    target: Float[Tensor, "*b h w"],
    valid: Bool[Tensor, "*b h w"] | None = None,
    thresholds: Sequence[float | int] = (),
    unit: str = "",
    min_depth: float | int = 0.0,
    max_depth: float | int = math.inf,
    average: str = "image",
) -> dict[str, float]:
    """Depth metrics of one image, or averaged over a batch; see the module for every definition.

    Args:
        prediction: depth in the scene's unit; of another size than ``target``, it is resized.
        target: ground truth in the scene's unit, 0 where unknown.
        valid: pixels to take; all of them when None.
        thresholds: t of the ``within_<t><unit>`` fractions, in the scene's unit.
        unit: of depth ('m', 'mm'), for the names of these fractions.
        min_depth, max_depth: ground truth counts in (min_depth, max_depth), both strict.
        average: 'image' or 'pixel'.

    Returns:
        abs_rel, median_abs_rel, abs_diff, sq_rel, rmse, log_rmse, delta_1.25, delta_1.25^2, delta_1.25^3,
        within_<t><unit> per threshold, coverage. NaN where nothing can be compared.
    """
    predictions = prediction.reshape(-1, *prediction.shape[-2:])
    targets = target.reshape(-1, *target.shape[-2:])
    masks = [None] * len(targets) if valid is None else list(valid.reshape(-1, *valid.shape[-2:]))
    images = [
        depth_error_sums(p, g, mask, thresholds, unit, min_depth, max_depth)
        for p, g, mask in zip(predictions, targets, masks, strict=True)
    ]
    return average_metrics(images, average)


def constant_depth(
    target: Float[Tensor, "h w"],
    valid: Bool[Tensor, "h w"] | None = None,
    min_depth: float | int = 0.0,
    max_depth: float | int = math.inf,
) -> Float[Tensor, "h w"]:
    """The best constant guess: the median of the image's own ground truth everywhere (0 where it has none).

    It knows the truth's median, which no method does; a network has to beat it all the same.
    """
    truth = _truth_pixels(target, valid, min_depth, max_depth)
    return torch.full_like(target, target[truth].median().item() if truth.any() else 0.0)
