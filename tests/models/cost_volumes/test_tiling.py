"""Parts of a level: tiles, strips, and what the head makes of them."""

import pytest
import torch

from toolbox.models import strips
from toolbox.models.cost_volumes import CostVolumePyramid, HourglassRegularizer, UNetRegularizer
from toolbox.models.cost_volumes.tiling import tiles


@pytest.mark.parametrize(("size", "tile_size"), [((120, 88), 64), ((88, 120), 57), ((24, 200), 56)])
def test_cores_make_up_the_level_and_areas_reach_around_them(size, tile_size):
    times_taken = torch.zeros(size)
    for tile in tiles(size, tile_size, reach=12, divisor=8):
        times_taken[tile.core] += 1
        for core, area, inside, length in zip(tile.core, tile.area, tile.core_in_area, size, strict=True):
            assert area.start % 8 == 0 and area.stop % 8 == 0 and area.stop - area.start <= tile_size
            assert area.start in (0, core.start - 16) and area.stop in (length, core.stop + 16)
            assert inside.start + area.start == core.start and inside.stop + area.start == core.stop
    assert (times_taken == 1).all()


@pytest.mark.parametrize(
    ("regularizer", "channels", "size"), [(HourglassRegularizer, (2, 3, 4), 60), (UNetRegularizer, (2, 3, 4, 5), 136)]
)
def test_reach_is_how_far_a_score_looks(regularizer, channels, size):
    torch.manual_seed(0)
    network = regularizer(2, channels=channels, norm=None).double()
    divisor = network.size_divisor
    volume = torch.rand(1, 2, divisor, size, divisor).double().requires_grad_()
    for row in (size // 2, size // 2 + divisor - 1):
        (gradient,) = torch.autograd.grad(network(volume)[0, :, row].square().sum(), volume)
        rows = gradient[0].abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
        assert (rows - row).abs().max() <= network.reach


def head(**options) -> CostVolumePyramid:
    torch.manual_seed(1)
    regularizer = {"type": "HourglassRegularizer", "channels": (3, 4, 5)}
    return CostVolumePyramid(4, {"type": "UniformDepth", "num": 6}, regularizer, **options)


def views(sources: int = 2, batch: int = 2) -> tuple:
    """Features, intrinsics, world_to_cam, depth range, image size."""
    generator = torch.Generator().manual_seed(2)
    features = [
        [torch.randn(batch, 4, *size, generator=generator) for size in ((88, 116), (44, 58))]
        for _ in range(sources + 1)
    ]
    intrinsics = torch.tensor([[90.0, 0, 60.0], [0, 94.0, 41.0], [0, 0, 1]]).repeat(batch, sources + 1, 1, 1)
    poses = torch.eye(4, dtype=torch.float64).repeat(batch, sources + 1, 1, 1)
    poses[:, :, 0, 3] = torch.linspace(0, 0.2, sources + 1)
    poses[:, :, 1, 3] = torch.linspace(0, -0.1, sources + 1)
    return features, intrinsics, poses, torch.tensor([[1.0, 4.0]]).repeat(batch, 1), (88, 116)


def test_tiles_give_what_the_whole_gives():
    """Also across their seams: tiles overlap by what the regularizer looks at."""
    network = head().eval()
    with torch.no_grad():
        whole, tiled = network(*views()), network(*views(), tile_size=48)
    torch.testing.assert_close(tiled.depths[0], whole.depths[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tiled.confidence, whole.confidence, atol=1e-3, rtol=0)


def test_features_are_consumed_on_request_only():
    network, inputs = head().eval(), views()
    with torch.no_grad():
        kept = network(*inputs)
        assert all(len(view) == 2 for view in inputs[0])
        consumed = network(*inputs, consume=True)
    assert not any(inputs[0])
    torch.testing.assert_close(consumed.depths, kept.depths, atol=0, rtol=0)


def test_without_overlap_tiles_would_show():
    network = head().eval()
    network.regularizer.reach = 0
    with torch.no_grad():
        whole, tiled = network(*views()), network(*views(), tile_size=48)
    assert (tiled.depths[0] - whole.depths[0]).abs().max() > 1e-3


@pytest.mark.parametrize("aggregator", [{"type": "Variance"}, {"type": "GroupCorrelation", "groups": 2}])
def test_checkpoints_do_not_change_gradients(aggregator, monkeypatch):
    monkeypatch.setitem(strips._SAMPLED, "cpu", 2**17)
    gradients = []
    for checkpointed in (False, True):
        network = head(aggregator=aggregator, checkpoint_volumes=checkpointed).train()
        inputs = views(batch=1)
        inputs[0][1][0].requires_grad_()
        network(*inputs).depths[0].sum().backward()
        gradients.append((inputs[0][1][0].grad, network.regularizer.conv0.conv.weight.grad))
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("norm", [None, "batch", "group"])
@pytest.mark.parametrize(
    ("regularizer", "channels"), [(HourglassRegularizer, (2, 3, 4)), (UNetRegularizer, (2, 3, 4, 5))]
)
def test_a_volume_filtered_in_strips_gives_the_scores_of_the_whole(regularizer, channels, norm, monkeypatch):
    monkeypatch.setitem(strips._FILTERED, "cpu", 2 * 8 * 24 * 2 * 7)
    torch.manual_seed(0)
    network = regularizer(6, channels=channels, norm=norm).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
    volume, taken = torch.randn(2, 6, 8, 40, 24), []

    def part(rows: slice) -> torch.Tensor:
        taken.append(rows.stop - rows.start)
        return volume[..., rows, :]

    with torch.no_grad():
        scores = network.finish(network.enter(part, (2, 8, 40, 24)))
        torch.testing.assert_close(scores, network(volume), atol=1e-5, rtol=1e-5)
    assert (max(taken) < 12) == (norm != "group")


def test_group_norm_in_strips_would_show(monkeypatch):
    monkeypatch.setitem(strips._FILTERED, "cpu", 2**10)
    network, volume = HourglassRegularizer(6, norm="group").eval(), torch.randn(1, 6, 4, 40, 24)
    with torch.no_grad():
        whole = network(volume)
        network.norm = None
        assert (
            network.finish(network.enter(lambda rows: volume[..., rows, :], (1, 4, 40, 24))) - whole
        ).abs().max() > 0.01
