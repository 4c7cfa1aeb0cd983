"""Winograd convolutions against PyTorch's."""

import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toolbox.models import winograd
from toolbox.models.layers import ConvBlock

# Layers use them only where PyTorch has these; CI's PyTorch must.
fused = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_convolution_pointwise") and "CI" not in os.environ,
    reason="PyTorch without oneDNN's fused convolutions",
)


def _expected(x, weight, bias, slope):
    conv = {4: F.conv2d, 5: F.conv3d}[x.ndim]
    y = conv(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    return y if slope is None else F.leaky_relu(y, slope)


@fused
@pytest.mark.parametrize("slope", [None, 0.0, 0.1])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 13, 22])
@pytest.mark.parametrize("leading", [(1,), (3,), (1, 5), (2, 3)])
def test_it_is_the_convolution(leading, height, with_bias, slope, monkeypatch):
    """Of images and volumes, one and several, tiles that end with the image and that do not, block after block."""
    number, *depth = leading
    x = torch.randn(number, 6, *depth, height, 7)
    weight, bias = torch.randn(5, 6, *[3] * (len(depth) + 2)), torch.randn(5) if with_bias else None
    for block in (1, winograd._BLOCK):
        monkeypatch.setattr(winograd, "_BLOCK", block)
        with torch.no_grad():
            found = winograd.convolve(x, weight, bias, slope)
        torch.testing.assert_close(found.double(), _expected(x, weight, bias, slope), atol=1e-4, rtol=1e-5)


@fused
def test_rows_of_a_larger_volume_are_read_in_place():
    x = torch.randn(1, 6, 4, 20, 9).contiguous(memory_format=torch.channels_last_3d)[..., 3:14, :]
    weight = torch.randn(5, 6, 3, 3, 3)
    with torch.no_grad():
        found = winograd.convolve(x, weight, None)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found.double(), _expected(x, weight, None, None), atol=1e-4, rtol=1e-5)


@fused
def test_rounding_stays_in_the_fifth_digit():
    x, weight = torch.randn(1, 64, 4, 30, 20), torch.randn(64, 64, 3, 3, 3) / 40
    exact = _expected(x, weight, None, None)
    with torch.no_grad():
        found = winograd.convolve(x, weight, None)
    assert (found - exact).abs().max() < 5e-5 * exact.std()


@fused
@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize(("dims", "transposed"), [(2, False), (3, False), (3, True)])
def test_layers_use_it_in_inference(dims, transposed, norm, monkeypatch):
    block = ConvBlock(64, 64, dims, norm=norm, negative_slope=0.1, transposed=transposed).eval()
    x = torch.randn(1, 64, *(5, 9, 10)[-dims:])
    expected, calls, convolve = block(x), [], winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *args: calls.append(args) or convolve(*args))
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected, atol=1e-4, rtol=1e-4)
        assert len(calls) == 1
        with torch.autocast("cpu", torch.bfloat16):
            block(x)
    block(x)
    assert len(calls) == 1, "neither in bfloat16 nor with gradients"


@pytest.mark.parametrize(
    ("changes", "suits"),
    [
        ({}, True),
        ({"stride": 2}, False),
        ({"kernel_size": 5, "padding": 2}, False),
        ({"padding": 0}, False),
        ({"dilation": 2, "padding": 2}, False),
        ({"groups": 2}, False),
        ({"in_channels": 16}, False),
        ({"out_channels": 16}, False),
    ],
)
def test_it_suits_wide_convolutions_of_kernel_three(changes, suits):
    conv = nn.Conv3d(**{"in_channels": 64, "out_channels": 64, "kernel_size": 3, "padding": 1, **changes})
    assert winograd.suits(conv, torch.empty(1, 64, 2, 2, 2)) is suits
    assert not winograd.suits(conv, torch.empty(0, 64, 2, 2, 2))
