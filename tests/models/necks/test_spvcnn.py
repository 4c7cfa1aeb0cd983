"""The sparse point-voxel network: published outputs, and points that are few or far apart."""

import pytest
import torch
from torch import Tensor

from toolbox.models.necks.spvcnn import SPVCNN, published_spvcnn_names
from toolbox.registry import NECKS
from toolbox.sparse import PointTensor


def points(num: int, batch_size: int = 1, channels: int = 5, seed: int = 6) -> PointTensor:
    generator = torch.Generator().manual_seed(seed)
    batch = torch.arange(num)[:, None] % batch_size
    place = torch.rand(num, 3, generator=generator) * torch.tensor([0.5, 0.7, 0.4]) - 0.2
    return PointTensor(torch.cat((batch, place), dim=1), torch.randn(num, channels, generator=generator))


def small(**settings) -> SPVCNN:
    return NECKS.build({"type": "SPVCNN", "in_channels": 5, "width": 0.125, "voxel_size": 0.08} | settings)


@pytest.mark.parametrize("case", ["cr05", "cr025"])
@pytest.mark.parametrize("train", [False, True])
def test_published_weights_give_the_published_outputs(shared, case, train):
    golden = torch.load(shared / "golden/msr/spvcnn_small.pt", weights_only=True)[case]
    network = SPVCNN(golden["in_channels"], golden["cr"], golden["vres"]).train(train)
    names = published_spvcnn_names(list(network.state_dict()))
    assert set(names) == set(golden["state_dict"])
    network.load_state_dict({names[name]: value for name, value in golden["state_dict"].items()})
    coords = torch.cat((golden["coords"][:, 3:], golden["coords"][:, :3]), dim=1)
    with torch.no_grad():
        out = network(PointTensor(coords, golden["feats"])).feats
    expected = golden["out_train" if train else "out"]
    assert out.shape == expected.shape
    assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_every_weight_gets_a_gradient():
    network = small()
    network(points(200)).feats.square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_scenes_of_a_batch_do_not_meet():
    network, together = small().eval(), points(150, batch_size=3)
    out = network(together).feats
    for scene in range(3):
        own = together.coords[:, 0] == scene
        alone = network(PointTensor(together.coords[own], together.feats[own])).feats
        torch.testing.assert_close(out[own], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num", [0, 1, 2])
def test_few_points(num):
    network, few = small(), points(num)
    feats = few.feats.requires_grad_()
    out = network(few.replace(feats))
    assert out.feats.shape == (num, network.out_channels) == (num, 12)
    out.feats.sum().backward()
    assert torch.isfinite(feats.grad).all()
    # Data-parallel training waits for every weight's gradient, also on a process without a point.
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_automatic_mixed_precision():
    network, some = small().eval(), points(100)

    def out() -> Tensor:
        return network(some).feats

    full = out()
    with torch.autocast("cpu", torch.bfloat16):
        half = out()
    assert (half - full).abs().max() < 0.05 * full.abs().max()


def test_widths_and_channels():
    assert SPVCNN(7, width=0.25).out_channels == 24
    assert SPVCNN(7, channels=(4, 8, 8, 6, 5)).stage2.blocks[0].skip.__class__.__name__ == "Identity"


def test_blocks_are_the_residual_blocks_at_each_stride():
    network, published = small(blocks=1), small()
    left_out = [name for name in published.state_dict() if ".blocks.1." in name]
    assert set(network.state_dict()) == set(published.state_dict()) - set(left_out)
    network.load_state_dict({k: v for k, v in published.state_dict().items() if k not in left_out})
    few, many = network(points(60)).feats, published(points(60)).feats
    assert few.shape == many.shape and not torch.allclose(few, many)


@pytest.mark.parametrize("num", [0, 1, 90])
def test_without_running_statistics_evaluation_is_training(num):
    network, given = small(running_stats=False), points(num)
    assert not [name for name in network.state_dict() if "running" in name or "tracked" in name]
    trained, evaluated = (network.train(mode)(given).feats for mode in (True, False))
    torch.testing.assert_close(trained, evaluated)
    assert torch.isfinite(trained).all()
    if num == 90:
        both = small()
        both.load_state_dict(network.state_dict(), strict=False)
        torch.testing.assert_close(both.train()(given).feats, trained)
        assert not torch.allclose(both.eval()(given).feats, trained)
