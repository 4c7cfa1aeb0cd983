from dataclasses import replace

import pytest
import torch

from toolbox.datasets import MVSDataset
from toolbox.engine import load_config
from toolbox.geometry import scale_intrinsics
from toolbox.models.losses import images_at_level, masked_mean
from toolbox.registry import MODELS
from toolbox.structures import Scene

INTRINSICS = torch.tensor([[50.0, 0, 9.5], [0, 52.0, 7.25], [0, 0, 1]]).double().expand(1, 2, 3, 3)


def test_a_half_pixel_level_is_the_mean_of_blocks():
    images = torch.rand(1, 2, 3, 12, 20).double()
    for s in (2, 4):
        level = scale_intrinsics(INTRINSICS, 1 / s, 1 / s)
        expected = images.unflatten(-1, (-1, s)).unflatten(-3, (-1, s)).mean(dim=(-1, -3))
        torch.testing.assert_close(images_at_level(images, INTRINSICS, level, (12 // s, 20 // s)), expected)


def test_an_odd_size_continues_with_its_edge():
    """As the network does, which pads by the edge pixels before it halves."""
    images = torch.rand(1, 2, 3, 7, 9).double()
    level = images_at_level(images, INTRINSICS, scale_intrinsics(INTRINSICS, 0.5, 0.5), (4, 5))
    torch.testing.assert_close(level[..., 3, 1], images[..., 6, 2:4].mean(dim=-1))
    torch.testing.assert_close(level[..., 1, 4], images[..., 2:4, 8].mean(dim=-1))


def test_a_strided_level_stands_at_every_fourth_pixel():
    ramp = (torch.arange(20.0).double() * 0.03 + torch.arange(12.0).double()[:, None] * 0.01).expand(1, 2, 3, 12, 20)
    level = scale_intrinsics(INTRINSICS, 0.25, 0.25, half_pixel=False)
    strided = images_at_level(ramp, INTRINSICS, level, (3, 5))
    torch.testing.assert_close(strided[..., 1:-1, 1:-1], ramp[..., ::4, ::4][..., 1:-1, 1:-1])


def test_the_finest_level_is_the_image_itself():
    images = torch.rand(1, 2, 3, 7, 9)
    assert images_at_level(images, INTRINSICS.float(), INTRINSICS.float(), (7, 9)) is images


def test_a_mean_over_nothing_is_zero_with_zero_gradients():
    values = torch.tensor([torch.inf, 1.0, 4.0]).requires_grad_()
    assert masked_mean(values, torch.tensor([False, True, True])).item() == 2.5
    nothing = masked_mean(values, torch.zeros(3, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0 and (values.grad == 0).all()


@pytest.mark.parametrize("config", ["cvp_mvsnet/cvp_mvsnet_slim", "mvsnet/mvsnet"])
def test_a_network_trains_without_depth(config, tabletop_scene: Scene, request):
    """Every loss gives a finite number and moves the weights, on any assembly; depth is not even there."""
    settings = load_config(request.config.rootpath / f"configs/{config}.py").model
    settings.losses = {
        "colour": {"type": "ViewSynthesisLoss", "errors": {"charbonnier": 0.5, "gradient": 0.5}, "weight": 12.0},
        "ssim": {"type": "ViewSynthesisLoss", "errors": "ssim", "weight": 6.0},
        "smooth": {"type": "DepthSmoothnessLoss", "weight": 0.05},
        "smooth2": {"type": "DepthSmoothnessLoss", "order": 2, "planes": 128, "weight": 0.01},
    }
    model = MODELS.build(settings).train()
    views = [replace(view, depth_path=None) for view in tabletop_scene.views]
    dataset = MVSDataset(replace(tabletop_scene, views=views), num_sources=3, size=(48, 64))
    data = model.data_preprocessor([dataset[0], dataset[1]], True)
    assert data["batch"].depth is None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(2):
        losses = model(**data, mode="loss")
        assert set(losses) == {f"loss_{name}" for name in settings.losses}
        assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert len(without) <= 1, without
        optimizer.step()
        totals.append(total.item())
    assert totals[0] != totals[1]
