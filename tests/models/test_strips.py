"""Layers applied strip by strip."""

import pytest
import torch

from toolbox.models import strips
from toolbox.models.backbones import PyramidFeatures


@pytest.mark.parametrize("elements", [1, 2**10, 2**17, 2**30])
def test_strips_are_all_rows_in_a_few(elements, monkeypatch):
    monkeypatch.setitem(strips._SAMPLED, "cpu", elements)
    monkeypatch.setitem(strips._FILTERED, "cpu", elements)
    found = list(strips.sampled_strips(slice(3, 50), 2**9, torch.device("cpu")))
    assert [row for strip in found for row in range(strip.start, strip.stop)] == list(range(3, 50))
    assert all((strip.stop - strip.start) <= max(elements // 2**9, 1) for strip in found)
    assert sum(strip.stop - strip.start for strip in strips.filtered_strips(47, 2**9, torch.device("cpu"))) == 47


@pytest.mark.parametrize("norm", [None, "batch", "group"])
def test_features_in_strips_are_those_of_the_whole_image(norm, monkeypatch):
    torch.manual_seed(0)
    network = PyramidFeatures((8, 8, 4), norm=norm).eval()
    images = torch.rand(2, 3, 40, 28)
    with torch.no_grad():
        whole = network(images, 2)
        monkeypatch.setitem(strips._FILTERED, "cpu", 2 * 28 * 8 * 7)
        for found, expected in zip(network(images, 2), whole, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
