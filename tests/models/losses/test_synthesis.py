"""What losses share within a step: fewer warps, the same numbers, and nothing that stays or mixes."""

import weakref
from contextlib import nullcontext

import pytest
import torch

from toolbox.models.losses import (
    DepthSmoothnessLoss,
    LevelViews,
    PerceptualLoss,
    VGG16Features,
    ViewSynthesisLoss,
    level_views,
    shared_level_views,
    synthesis,
    synthesise_reference,
)


class InPlaceLoss(torch.nn.Module):
    """One of a user, which changes what the public function gives it."""

    def forward(self, prediction, batch):
        warped, valid = synthesise_reference(
            batch.images, prediction.depths[0], batch.intrinsics, batch.world_to_cam, occlusion=None
        )
        return warped.mul_(valid[:, :, None]).square().mean()


@pytest.fixture
def losses(tmp_path) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    torch.save(VGG16Features().state_dict(), tmp_path / "vgg16.pth")
    return [
        ViewSynthesisLoss({"l1": 0.5, "gradient": 0.5}, k=3),
        ViewSynthesisLoss("ssim", weight=2.0, level_weights=(1.0, 0.5)),
        InPlaceLoss(),
        ViewSynthesisLoss("charbonnier", "mean", occlusion=0.002),
        ViewSynthesisLoss("l0.5", occlusion=0.002),
        PerceptualLoss(tmp_path / "vgg16.pth", num_sources=2),
        DepthSmoothnessLoss(order=2),
    ]


@pytest.fixture
def counted(monkeypatch) -> dict[str, int]:
    """How often each function was called."""
    counts = {}

    def counting(name: str):
        function = getattr(synthesis, name)

        def called(*args, **kwargs):
            counts[name] = counts.get(name, 0) + 1
            return function(*args, **kwargs)

        return called

    for name in ("warp_to_reference", "images_at_level", "hidden_from_sources"):
        monkeypatch.setattr(synthesis, name, counting(name))
    return counts


def test_sharing_changes_neither_losses_nor_gradients(plane, losses):
    results = []
    for context in (nullcontext(), shared_level_views()):
        prediction, batch = plane.problem(levels=2, scale=1.03)
        with context:
            values = [loss(prediction, batch) for loss in losses]
        sum(values).backward()
        results.append((values, [depth.grad for depth in prediction.depths]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-15)
    assert all(grad.abs().sum() > 0 for grad in results[1][1])


def test_every_source_is_warped_once_for_all_losses(plane, losses, counted):
    prediction, batch = plane.problem(levels=2)
    losses.pop(2)
    for loss in losses:
        loss(prediction, batch)
    assert counted == {"warp_to_reference": 2 * 5 * 3, "images_at_level": 2 * 6, "hidden_from_sources": 2 * 2}
    counted.clear()
    with shared_level_views():
        for loss in losses:
            loss(prediction, batch)
    assert counted == {"warp_to_reference": 2 * 3, "images_at_level": 2, "hidden_from_sources": 2}


def test_predictions_and_batches_are_not_mixed(plane):
    loss = ViewSynthesisLoss()

    def problems():
        yield plane.problem()
        yield plane.problem(scale=1.02)
        prediction, batch = plane.problem()
        batch.images = 1 - batch.images.square()
        yield prediction, batch
        yield plane.problem(scale=1.04)[0], batch

    alone = [loss(*problem).item() for problem in problems()]
    assert len(set(alone)) == 4
    with shared_level_views():
        # Each problem is gone when the next one is made: its tensors' identities are free again.
        assert [loss(*problem).item() for problem in problems()] == alone


def test_what_changed_in_place_is_computed_anew(plane):
    prediction, batch = plane.problem()
    loss = ViewSynthesisLoss()
    with shared_level_views():
        before = loss(prediction, batch).item()
        batch.images[:, 0] += 0.1
        after = loss(prediction, batch).item()
        with torch.no_grad():
            prediction.depths[0] *= 1.02
        last = loss(prediction, batch).item()
    assert loss(prediction, batch).item() == last
    assert len({before, after, last}) == 3


def test_gradients_do_not_depend_on_who_asked_first(plane):
    prediction, batch = plane.problem()
    loss = ViewSynthesisLoss()
    with shared_level_views():
        with torch.no_grad():
            loss(prediction, batch)
        loss(prediction, batch).backward()
    assert prediction.depths[0].grad.abs().sum() > 0
    with torch.inference_mode(), shared_level_views():
        assert loss(*plane.problem()) == loss(*plane.problem())


def test_nothing_outlives_the_step(plane):
    prediction, batch = plane.problem()
    with pytest.raises(KeyError), shared_level_views():
        views = level_views(prediction, batch, 0)
        assert views is level_views(prediction, batch, 0)
        kept = [weakref.ref(views), *map(weakref.ref, views.synthesis(0.05))]
        del views
        assert all(ref() is not None for ref in kept)
        raise KeyError
    assert [ref() for ref in kept] == [None] * 3
    assert level_views(prediction, batch, 0) is not level_views(prediction, batch, 0)


def test_steps_inside_one_another_share_nothing(plane):
    """As a loss does that trains on another prediction of its own."""
    prediction, batch = plane.problem()
    with shared_level_views():
        outer = level_views(prediction, batch, 0)
        with shared_level_views():
            assert level_views(prediction, batch, 0) is not outer
        assert level_views(prediction, batch, 0) is outer
    assert isinstance(outer, LevelViews)
