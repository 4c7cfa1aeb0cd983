"""From radiance to bytes."""

import numpy as np
import pytest

from toolbox.datasets.synthetic.sensor import Sensor, tone


def test_tone_curve_is_srgb():
    grey = np.repeat(np.array([[0.0], [0.2140], [1.0], [7.0]], np.float32), 3, axis=1)
    np.testing.assert_array_equal(tone(grey)[:, 0], [0, 127, 255, 255])


def test_noise_and_exposure():
    flat = np.full((60, 80, 3), 0.25, np.float32)
    perfect = Sensor(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert np.unique(perfect.photograph(flat, np.random.default_rng(0))).size == 1
    sensor = Sensor(vignetting=0.0)
    images = [sensor.photograph(flat, np.random.default_rng(seed)).astype(float) for seed in range(6)]
    assert 0.3 < np.median([image.std(axis=(0, 1)).mean() for image in images]) < 4
    assert np.std([image.mean() for image in images]) > 1
    np.testing.assert_array_equal(images[0], sensor.photograph(flat, np.random.default_rng(0)))


def test_corners_are_darker():
    flat = np.full((60, 80, 3), 0.25, np.float32)
    image = Sensor(0.0, 0.0, 0.0, 0.0, 0.45, 0.3).photograph(flat, np.random.default_rng(0)).astype(float)
    assert image[0, 0].mean() < image[30, 40].mean() - 5
    assert image[0, 0].mean() == pytest.approx(image[-1, -1].mean(), abs=1)
