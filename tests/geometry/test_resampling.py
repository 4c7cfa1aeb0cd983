"""Resampling: depth stays at its rays, and unknown depth is never mixed into known depth."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.geometry import (
    crop_intrinsics,
    pixel_grid,
    resample_dense,
    resample_depth,
    scale_intrinsics,
    upsample_depth,
)

K = torch.tensor([[[61.0, 0, 9.3], [0, 55.0, 6.1], [0, 0, 1]]])


def ramp(height: int, width: int) -> torch.Tensor:
    """(1, h, w): x + 100 y + 1 at each pixel, so that a value tells where it was taken."""
    grid = pixel_grid(height, width, K)
    return (grid[..., 0] + 100 * grid[..., 1] + 1)[None]


@given(
    seed=st.integers(0, 1000),
    factor=st.floats(0.3, 3),
    left=st.integers(-3, 3),
    mode=st.sampled_from(["nearest", "bilinear"]),
)
@settings(max_examples=50, deadline=None)
def test_unknown_is_never_mixed_into_known(seed, factor, left, mode):
    """Known depth lies in [10, 11]: any mixing with the zeros would fall between 0 and 10."""
    generator = torch.Generator().manual_seed(seed)
    depth = 10 + torch.rand(1, 9, 13, generator=generator)
    depth[torch.rand(1, 9, 13, generator=generator) < 0.3] = 0
    other = crop_intrinsics(scale_intrinsics(K, factor, 1.1 * factor), left, 1)
    found = resample_depth(depth, K, other, (11, 12), mode=mode)
    assert ((found == 0) | ((found >= 10 - 1e-4) & (found <= 11 + 1e-4))).all()
    assert (found > 0).any()


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_same_intrinsics_is_the_identity(mode):
    depth = ramp(7, 10)
    depth[0, 2, 3:5] = 0
    torch.testing.assert_close(resample_depth(depth, K, K, (7, 10), mode=mode), depth, atol=1e-3, rtol=0)


def test_cropping_takes_the_pixels_of_the_crop():
    found = resample_depth(ramp(7, 10), K, crop_intrinsics(K, left=2, top=1), (4, 5))
    assert torch.equal(found, ramp(7, 10)[:, 1:5, 2:7])


def test_outside_is_unknown():
    found = resample_depth(ramp(7, 10), K, crop_intrinsics(K, left=8, top=-1), (4, 5))
    assert (found[:, 0] == 0).all()
    assert (found[:, :, 2:] == 0).all()
    assert torch.equal(found[:, 1:, :2], ramp(7, 10)[:, :3, 8:])


def test_half_the_size_lies_between_the_pixels_or_on_them():
    """Pixel 1 of the half-size image is centred at 2.5 of the large one (areas), or stands on its pixel 2 (strided)."""
    depth = ramp(8, 12)
    areas = resample_depth(depth, K, scale_intrinsics(K, 0.5, 0.5), (4, 6), mode="bilinear")
    torch.testing.assert_close(areas, torch.nn.functional.avg_pool2d(depth, 2), atol=1e-2, rtol=0)
    strided = resample_depth(depth, K, scale_intrinsics(K, 0.5, 0.5, half_pixel=False), (4, 6), mode="bilinear")
    torch.testing.assert_close(strided, depth[:, ::2, ::2], atol=1e-2, rtol=0)


def test_a_tie_between_two_pixels_goes_one_way_for_the_whole_map():
    found = resample_depth(ramp(8, 12), K, scale_intrinsics(K, 0.5, 0.5), (4, 6), mode="nearest")
    assert torch.equal(found, ramp(8, 12)[:, ::2, ::2])


def test_up_and_down_again_is_the_identity():
    depth = ramp(6, 9)
    double = scale_intrinsics(K, 2.0, 2.0)
    large = resample_depth(depth, K, double, (12, 18))
    assert torch.equal(large, depth.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert torch.equal(resample_depth(large, double, K, (6, 9)), depth)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'cubic'"):
        resample_depth(ramp(4, 4), K, K, (4, 4), mode="cubic")


def test_dense_maps_are_clamped_at_the_edges():
    large = resample_dense(ramp(6, 9), K, scale_intrinsics(K, 2.0, 2.0), (12, 18))
    torch.testing.assert_close(large[0, 0, 0], torch.tensor(1.0))
    torch.testing.assert_close(large[0, 5, 5], torch.tensor(1 + 2.25 + 225), atol=1e-2, rtol=0)
    assert (large > 0).all()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("half_pixel", [True, False])
def test_upsampling_keeps_depth_on_its_rays(mode, half_pixel):
    """On a ramp, away from the edges, the value at each fine pixel is its position on the coarse grid."""
    coarse = ramp(8, 10)
    fine_k = scale_intrinsics(K, 2.0, 2.0, half_pixel=half_pixel)
    fine = upsample_depth(coarse, (16, 20), mode=mode, half_pixel=half_pixel)
    expected = resample_dense(coarse, K, fine_k, (16, 20))
    # The bicubic kernel with a = -0.75 bends a ramp by a twentieth of a pixel; a row is 100 here.
    tolerance = 5.0 if mode == "bicubic" else 2e-2
    torch.testing.assert_close(fine[:, 5:-5, 5:-5], expected[:, 5:-5, 5:-5], atol=tolerance, rtol=0)
    wrong = resample_dense(coarse, K, scale_intrinsics(K, 2.0, 2.0, half_pixel=not half_pixel), (16, 20))
    assert (fine - wrong)[:, 5:-5, 5:-5].abs().min() > 10
