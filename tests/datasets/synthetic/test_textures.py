"""Patterns: albedo by surface point, with detail at every scale."""

import numpy as np
import pytest

from toolbox.datasets.synthetic.materials import MaterialMaker

FAMILIES = ["clay", "patchwork", "plain", "marble", "wood", "granite", "printed", "bricks", "cloth"]


def patch(step: float, count: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Points of a level square grid, and their normals."""
    at = step * np.arange(count, dtype=np.float32)
    x, y = np.meshgrid(at, at)
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 3.0, np.float32)])
    return points, np.repeat(np.array([[0], [0], [1]], np.float32), x.size, axis=1)


def albedo(family: str, step: float, seed: int = 4) -> np.ndarray:
    material = getattr(MaterialMaker(np.random.default_rng(seed), 100.0), family)()
    points, normals = patch(step)
    return material.pattern(points, normals, np.full(points.shape[1], step, np.float32)).reshape(3, 128, 128)


@pytest.mark.parametrize("family", FAMILIES)
def test_albedo_is_a_function_of_the_point_alone(family):
    pattern = getattr(MaterialMaker(np.random.default_rng(4), 100.0), family)().pattern
    points, normals = patch(0.7, 40)
    footprint = np.full(points.shape[1], 0.7, np.float32)
    whole = pattern(points, normals, footprint)
    some = slice(300, 517)
    np.testing.assert_array_equal(whole[:, some], pattern(points[:, some], normals[:, some], footprint[some]))
    assert whole.dtype == np.float32
    assert whole.min() > 0
    assert whole.max() < 1


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "plain"])
@pytest.mark.parametrize("step", [0.3, 1.2, 5.0], ids=lambda step: f"{step} mm a pixel")
def test_there_is_detail_at_every_scale(family, step):
    grey = albedo(family, step).mean(axis=0)
    # Contrast between neighbours, and over the patch, relative to the mean.
    assert np.abs(np.diff(grey, axis=1)).mean() / grey.mean() > 0.002
    assert grey.std() / grey.mean() > 0.02


def test_plain_is_weakly_textured():
    grey = albedo("plain", 0.6).mean(axis=0)
    assert 0 < grey.std() / grey.mean() < 0.1
