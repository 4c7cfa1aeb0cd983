from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from mmengine.logging import MessageHub
from torch.autograd import gradcheck

from toolbox.datasets import MVSDataset
from toolbox.engine import load_config
from toolbox.engine.seeding import seed_everything
from toolbox.errors import UserError
from toolbox.geometry import scale_intrinsics
from toolbox.models.losses import (
    AugmentationConsistencyLoss,
    confident_depth,
    depth_error_map,
    jittered_colours,
    random_patches,
)
from toolbox.registry import MODELS
from toolbox.structures import DepthPrediction

CONFIGS = ["cvp_mvsnet/cvp_mvsnet_slim", "mvsnet/mvsnet"]


def test_every_view_gets_colours_of_its_own():
    images = torch.rand(2, 3, 3, 10, 14).double()
    same = jittered_colours(images, 0.0, 0.0, 0.0, 0.0)
    torch.testing.assert_close(same, images)
    changed = jittered_colours(images[:, :1].expand(-1, 3, -1, -1, -1), 0.7, 0.4, 0.2, 0.2)
    assert changed.dtype == torch.float64 and changed.min() >= 0 and changed.max() <= 1
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (changed[:, one] - changed[:, other]).abs().flatten(1).amax(dim=1).min() > 0.01


def test_patches_by_their_size():
    covered = random_patches(50, (12, 21), number=1, extent=1 / 3)
    assert (covered.flatten(1).sum(dim=1) == 4 * 7).all()
    assert (covered.any(dim=2).sum(dim=1) == 4).all() and (covered.any(dim=1).sum(dim=1) == 7).all()
    corners = {tuple(c.nonzero()[0].tolist()) for c in covered}
    assert len(corners) > 20
    # Every pixel may be covered, those of the edges too.
    assert random_patches(2000, (12, 21), 1, 1 / 3).any(dim=0).all()
    assert not random_patches(2, (12, 21), 0, 1 / 3).any()


def test_the_label_is_the_confident_depth_on_the_images_grid(plane):
    prediction, batch = plane.problem()
    prediction.confidence = torch.rand(1, 48, 64).double()
    label = confident_depth(prediction, batch, 0.6)
    expected = torch.where(prediction.confidence > 0.6, plane.depth()[None], torch.zeros(()).double())
    assert torch.equal(label, expected) and not label.requires_grad
    strided = scale_intrinsics(batch.intrinsics, 0.25, 0.25, half_pixel=False)
    ramp = (2 + 0.1 * torch.arange(16.0)).double().expand(1, 12, 16).clone()
    coarse = DepthPrediction([ramp], [strided], torch.ones(1, 48, 64).double())
    torch.testing.assert_close(confident_depth(coarse, batch, 0.5)[0, 3, :61], (2 + 0.025 * torch.arange(61)).double())


def test_the_clean_depth_is_the_minimum(plane):
    prediction, batch = plane.problem(levels=2)
    loss = AugmentationConsistencyLoss(planes=64)
    values = {
        scale: loss(prediction, batch, lambda _, s=scale: plane.problem(levels=2, scale=s)[0]).item()
        for scale in (0.9, 0.97, 1.0, 1.03, 1.1)
    }
    assert values[0.9] > values[0.97] > 100 * values[1.0]
    assert values[1.1] > values[1.03] > 100 * values[1.0]


def test_gradient(small_plane):
    prediction, batch = small_plane.problem()
    prediction.confidence = torch.rand(1, 8, 10).double()
    start = (prediction.depths[0].detach() * (1 + 0.1 * torch.rand(1, 8, 10).double())).requires_grad_()
    label = confident_depth(prediction, batch, 0.3)
    assert gradcheck(lambda d: depth_error_map(d, label, beta=0.05)[0], (start,))
    loss = AugmentationConsistencyLoss(0.3, beta=0.05)

    def whole(depth):
        torch.manual_seed(1)
        return loss(prediction, batch, lambda _: replace(prediction, depths=[depth]))

    assert gradcheck(whole, (start,))


def test_only_what_is_confident_and_not_covered_counts(plane):
    """And only the second pass learns."""
    prediction, batch = plane.problem()
    prediction.confidence = torch.rand(1, 48, 64).double()
    second, _ = plane.problem(scale=1.1)
    seen = []

    def predict(augmented):
        seen.append(augmented)
        return second

    AugmentationConsistencyLoss(0.5, patches=2, contrast=0.0, brightness=0.0)(prediction, batch, predict).backward()
    images = seen[0].images
    black = (images[:, 0] == 0).all(dim=1)
    assert 0.1 < black.double().mean() < 0.23 and not (images[:, 1:] == 0).all(dim=2).any()
    assert not torch.equal(images[:, 1], batch.images[:, 1])
    counted = (prediction.confidence > 0.5) & ~black
    assert torch.equal(second.depths[0].grad != 0, counted)
    assert prediction.depths[0].grad is None


def test_no_confident_pixel_gives_zero(plane):
    prediction, batch = plane.problem()
    prediction.confidence = torch.zeros(1, 48, 64).double()
    second, _ = plane.problem(scale=1.1)
    loss = AugmentationConsistencyLoss(0.5)(prediction, batch, lambda _: second)
    loss.backward()
    assert loss.item() == 0 and (second.depths[0].grad == 0).all()


def test_the_weight_may_grow_with_the_iterations(plane, tmp_path):
    prediction, batch = plane.problem()
    second, _ = plane.problem(scale=1.1)

    def at(iteration: int, **settings) -> float:
        MessageHub.get_instance(f"ramp {tmp_path}").update_info("iter", iteration)
        torch.manual_seed(1)
        return AugmentationConsistencyLoss(**settings)(prediction, batch, lambda _: second).item()

    full = at(3)
    assert full > 0
    shares = [at(i, ramp_iters=8) / full for i in (0, 2, 8, 20)]
    assert shares == pytest.approx([0, 0.25, 1, 1])
    assert at(3, weight=0.5) == pytest.approx(0.5 * full)


def test_wrong_settings_are_named():
    with pytest.raises(UserError, match=r"min_confidence=1\.5"):
        AugmentationConsistencyLoss(min_confidence=1.5)


@pytest.fixture
def network(tabletop_scene, request):
    """Makes a model with this loss alone, and batches of the tabletop without depth."""

    def make(config: str, samples: int = 2):
        torch.manual_seed(0)
        settings = load_config(request.config.rootpath / f"configs/{config}.py").model
        settings.losses = {"consistency": {"type": "AugmentationConsistencyLoss", "min_confidence": 0.0}}
        model = MODELS.build(settings).train()
        views = [replace(view, depth_path=None) for view in tabletop_scene.views]
        dataset = MVSDataset(replace(tabletop_scene, views=views), num_sources=2, size=(48, 64))
        data = model.data_preprocessor([dataset[i] for i in range(samples)], True)
        return model, data

    return make


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("config", "samples"), [(CONFIGS[0], 1), (CONFIGS[0], 2), (CONFIGS[1], 2)])
def test_any_network_and_batch_learns_from_it(network, config, samples, mixed):
    model, data = network(config, samples)
    with torch.autocast("cpu", dtype=torch.bfloat16) if mixed else nullcontext():
        losses = model(**data, mode="loss")
    assert list(losses) == ["loss_consistency"]
    assert torch.isfinite(losses["loss_consistency"]) and losses["loss_consistency"] > 0
    losses["loss_consistency"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert len(without) <= 1, without


def test_a_resumed_run_draws_the_same_augmentations(network, tmp_path):
    def steps(model, optimizer, data, positions) -> None:
        for position in positions:
            seed_everything(7, 0, 2, position)
            optimizer.zero_grad()
            model(**data, mode="loss")["loss_consistency"].backward()
            optimizer.step()

    def fresh():
        model, data = network(CONFIGS[0])
        return model, torch.optim.Adam(model.parameters(), lr=1e-3), data

    straight = fresh()
    steps(*straight, range(3))
    first = fresh()
    steps(*first, range(2))
    torch.save([part.state_dict() for part in first[:2]], tmp_path / "halfway.pth")
    second = fresh()
    for part, state in zip(second, torch.load(tmp_path / "halfway.pth", weights_only=True), strict=False):
        part.load_state_dict(state)
    torch.rand(11)
    steps(*second, [2])
    torch.testing.assert_close(second[0].state_dict(), straight[0].state_dict(), rtol=0, atol=0)
