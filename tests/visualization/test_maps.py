import numpy as np
import pytest

from toolbox.visualization import (
    confidence_to_rgb,
    depth_to_rgb,
    depth_with_legend,
    error_limit,
    error_to_rgb,
    error_with_legend,
    robust_range,
)


def brightness(rgb):
    return rgb.astype(float) @ [0.299, 0.587, 0.114]


def test_near_is_bright_and_unknown_is_black():
    depth = np.array([[1.0, 2.0, 3.0, 0.0, np.nan, -1.0, np.inf]], np.float32)
    rgb = depth_to_rgb(depth, (1.0, 3.0))
    assert rgb.dtype == np.uint8
    assert rgb.shape == (1, 7, 3)
    assert brightness(rgb[0, 0]) > brightness(rgb[0, 1]) > brightness(rgb[0, 2]) > 0
    assert not rgb[0, 3:].any()


def test_given_range_makes_pictures_comparable():
    one, other = np.array([[1.0, 2.0]]), np.array([[2.0, 5.0]])
    assert np.array_equal(depth_to_rgb(one, (1.0, 5.0))[0, 1], depth_to_rgb(other, (1.0, 5.0))[0, 0])
    assert not np.array_equal(depth_to_rgb(one)[0, 1], depth_to_rgb(other)[0, 0])


def test_range_ignores_outliers_and_unknown_pixels():
    depth = np.full((50, 40), 2.0)
    depth[::2] = 4.0
    depth[0, 0], depth[1, :3] = 1e6, 0
    assert robust_range(depth) == (2.0, 4.0)
    assert robust_range(np.zeros((3, 4))) == (0.0, 1.0)
    assert not depth_to_rgb(np.zeros((3, 4))).any()
    near, far = robust_range(np.full((3, 4), 7.0))
    assert near == 7.0 < far


def test_signed_error_is_blue_white_red():
    rgb = error_to_rgb(np.array([[-2.0, 0.0, 2.0, 99.0, np.nan]]), max_error=2.0, signed=True).astype(int)
    assert rgb[0, 0, 2] > rgb[0, 0, 0] + 100
    assert rgb[0, 1].min() > 240
    assert rgb[0, 2, 0] > rgb[0, 2, 2] + 100
    assert np.array_equal(rgb[0, 2], rgb[0, 3])
    assert not rgb[0, 4].any()


def test_absolute_error_grows_brighter_whatever_its_sign():
    rgb = error_to_rgb(np.array([[0.0, -1.0, 1.0, 2.0]]), max_error=2.0)
    assert np.array_equal(rgb[0, 1], rgb[0, 2])
    assert brightness(rgb[0, 0]) < brightness(rgb[0, 1]) < brightness(rgb[0, 3])


def test_error_limit_is_the_95_percent_quantile():
    error = np.linspace(-100, 100, 2001)
    error[::7] = np.nan
    assert error_limit(error) == pytest.approx(95, abs=0.5)
    assert error_limit(np.full((2, 2), np.nan)) == 1.0
    assert error_limit(np.zeros((2, 2))) > 0


def test_confidence_is_brighter_where_higher():
    rgb = confidence_to_rgb(np.array([[0.0, 0.5, 1.0, np.nan]]))
    assert brightness(rgb[0, 0]) < brightness(rgb[0, 1]) < brightness(rgb[0, 2])
    assert not rgb[0, 3].any()


@pytest.mark.parametrize("with_legend", [depth_with_legend, error_with_legend])
def test_legend_stands_at_the_right(with_legend):
    values = np.random.default_rng(0).uniform(1, 3, (60, 80)).astype(np.float32)
    picture = with_legend(values, unit="mm")
    plain = depth_to_rgb(values) if with_legend is depth_with_legend else error_to_rgb(values)
    assert picture.shape[0] == 60
    assert np.array_equal(picture[:, :80], plain)
    bar, scale = picture[:, 80:96], picture[:, 96:]
    assert len(np.unique(bar.reshape(-1, 3), axis=0)) > 30
    # Dark letters on white: at the top, in the middle and at the bottom.
    assert all(
        (scale[rows].min(), scale[rows].max()) < (128, 256) for rows in (slice(0, 20), slice(24, 38), slice(44, 60))
    )
