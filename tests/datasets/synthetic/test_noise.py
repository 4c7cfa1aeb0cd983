"""Solid noise and rotations."""

import numpy as np

from toolbox.datasets.synthetic.noise import SolidNoise, random_rotation, rotate


def points(count: int, extent: float) -> np.ndarray:
    return np.random.default_rng(1).uniform(-extent, extent, (3, count)).astype(np.float32)


def test_noise_is_a_function_of_the_point_alone():
    noise, at = SolidNoise(np.random.default_rng(0)), points(1000, 50.0)
    footprint = np.full(1000, 0.5, np.float32)
    together = noise.fractal(at, 20.0, footprint, channels=2)
    backwards = noise.fractal(at[:, ::-1].copy(), 20.0, footprint, channels=2)[:, ::-1]
    alone = noise.fractal(at[:, 7:8].copy(), 20.0, footprint[:1], channels=2)
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together[:, 7:8], alone)


def test_noise_is_centred_scaled_and_continuous():
    noise, at = SolidNoise(np.random.default_rng(0)), points(20000, 500.0)
    footprint = np.full(20000, 0.01, np.float32)
    value = noise.fractal(at, 20.0, footprint)[0]
    assert abs(value.mean()) < 0.05
    assert 0.7 < value.std() < 1.5
    step = np.array([[1e-3], [0], [0]], np.float32)
    assert np.abs(noise.octave(at + step, 10.0, 0) - noise.octave(at, 10.0, 0)).max() < 0.01


def test_detail_finer_than_a_pixel_fades_out():
    noise, at = SolidNoise(np.random.default_rng(0)), points(2000, 50.0)
    near, far = np.full(2000, 0.1, np.float32), np.full(2000, 4.0, np.float32)
    step = np.array([[0.5], [0], [0]], np.float32)
    change = [
        np.abs(noise.fractal(at + step, 16.0, size) - noise.fractal(at, 16.0, size)).mean() for size in (near, far)
    ]
    assert change[0] > 3 * change[1] > 0
    np.testing.assert_array_equal(noise.fractal(at, 3.0, far), 0)


def test_rotations_are_rotations():
    rotation, at = random_rotation(np.random.default_rng(2)), points(5, 1.0)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    np.testing.assert_allclose(rotate(rotation, at), rotation @ at, atol=1e-6)
