"""The recurrent unit: published outputs without their bug."""

import pytest
import torch

from toolbox.engine.volumetric_names import conv_gru_names
from toolbox.models.necks import ConvGRU
from toolbox.registry import NECKS
from toolbox.sparse import PointTensor


@pytest.mark.parametrize("case", ["h48", "h24"])
def test_outputs_of_published_weights(shared, case):
    golden = torch.load(shared / "golden/msr/convgru_small.pt", weights_only=True)[case]
    cell = NECKS.build({"type": "ConvGRU", "channels": golden["hidden"], "voxel_size": golden["vres"]})
    names = conv_gru_names()
    assert set(names) == set(golden["state_dict"])
    cell.load_state_dict({names[name]: value for name, value in golden["state_dict"].items()})
    coords = torch.cat((golden["coords"][:, 3:], golden["coords"][:, :3]), dim=1)
    with torch.no_grad():
        out = cell(PointTensor(coords, golden["h"]), golden["x"])
    expected = golden["out_if_fresh"]
    assert out.shape == expected.shape
    assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (out - golden["out"]).abs().max() > 1e-3


@pytest.mark.parametrize("num", [0, 1, 30])
def test_gradients_reach_every_weight(num):
    cell = ConvGRU(3, in_channels=2, voxel_size=0.1)
    points = PointTensor(torch.cat((torch.zeros(num, 1), torch.rand(num, 3)), dim=1), torch.randn(num, 3))
    inputs = torch.randn(num, 2, requires_grad=True)
    out = cell(points, inputs)
    out.square().sum().backward()
    assert out.shape == (num, 3)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in cell.parameters())
    assert num < 2 or all(p.grad.abs().sum() > 0 for p in cell.parameters())
