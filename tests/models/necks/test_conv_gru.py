"""The recurrent unit: published outputs, with and without their bug."""

import pytest
import torch

from toolbox.engine.volumetric_names import conv_gru_names
from toolbox.models.necks import ConvGRU
from toolbox.models.necks.published_rows import voxel_hashes
from toolbox.registry import NECKS
from toolbox.sparse import PointTensor


@pytest.fixture(scope="module")
def goldens(shared):
    return torch.load(shared / "golden/msr/convgru_small.pt", weights_only=True)


def batch_first(coords: torch.Tensor) -> torch.Tensor:
    return torch.cat((coords[:, 3:], coords[:, :3]), dim=1)


@pytest.mark.parametrize("case", ["h48", "h24"])
@pytest.mark.parametrize("scrambled", [False, True])
def test_outputs_of_published_weights(goldens, case, scrambled):
    golden = goldens[case]
    settings = {"channels": golden["hidden"], "voxel_size": golden["vres"], "published_scrambled_rows": scrambled}
    cell = NECKS.build({"type": "ConvGRU", **settings})
    names = conv_gru_names()
    assert set(names) == set(golden["state_dict"])
    cell.load_state_dict({names[name]: value for name, value in golden["state_dict"].items()})
    with torch.no_grad():
        out = cell(PointTensor(batch_first(golden["coords"]), golden["h"]), golden["x"])
    expected, other = (golden[name] for name in (("out", "out_if_fresh") if scrambled else ("out_if_fresh", "out")))
    assert out.shape == expected.shape
    assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (out - other).abs().max() > 1e-3


@pytest.mark.parametrize("which", "zr")
def test_order_of_voxels_in_torchsparse(goldens, which):
    coords, hashes = goldens["h48"][f"vox_coords_{which}"], goldens["h48"][f"vox_hash_{which}"]
    assert torch.equal(voxel_hashes(batch_first(coords)), hashes)
    assert (hashes.diff() > 0).all()


@pytest.mark.parametrize("num", [0, 1, 30])
@pytest.mark.parametrize("scrambled", [False, True])
def test_gradients_reach_every_weight(num, scrambled):
    cell = ConvGRU(3, in_channels=2, voxel_size=0.1, published_scrambled_rows=scrambled)
    points = PointTensor(torch.cat((torch.zeros(num, 1), torch.rand(num, 3)), dim=1), torch.randn(num, 3))
    inputs = torch.randn(num, 2, requires_grad=True)
    out = cell(points, inputs)
    out.square().sum().backward()
    assert out.shape == (num, 3)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in cell.parameters())
    assert num < 2 or all(p.grad.abs().sum() > 0 for p in cell.parameters())
