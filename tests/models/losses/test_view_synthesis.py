import pytest
import torch
from torch.autograd import gradcheck

from toolbox.errors import UserError
from toolbox.geometry import project, transform_points, unproject
from toolbox.models.losses import (
    PHOTOMETRIC_ERRORS,
    ViewSynthesisLoss,
    select_sources,
    synthesise_reference,
    view_synthesis_map,
)

ERRORS = [*PHOTOMETRIC_ERRORS, {"charbonnier": 0.5, "gradient": 0.5}]


@pytest.mark.parametrize("selection", ["top_k", "mean"])
@pytest.mark.parametrize("errors", PHOTOMETRIC_ERRORS)
def test_gradient(small_plane, errors, selection):
    depth = (small_plane.depth()[None] * (1.05 + 0.1 * torch.rand(1, 8, 10).double())).requires_grad_()

    def error(depth):
        intrinsics, poses = small_plane.level_intrinsics(), small_plane.poses[None]
        values, valid = view_synthesis_map(
            small_plane.images(), depth, intrinsics, poses, {errors: 1.0}, selection, k=2
        )
        assert valid.sum() > 10
        return values * valid

    assert gradcheck(error, (depth,))


@pytest.mark.parametrize("selection", ["top_k", "mean"])
@pytest.mark.parametrize("errors", ERRORS, ids=str)
def test_true_depth_is_the_minimum(plane, errors, selection):
    loss = ViewSynthesisLoss(errors, selection, level_weights=(1.0, 0.5))
    values = {scale: loss(*plane.problem(levels=2, scale=scale)).item() for scale in (0.9, 0.97, 1.0, 1.03, 1.1)}
    assert values[0.9] > values[0.97] > 1.5 * values[1.0]
    assert values[1.1] > values[1.03] > 1.5 * values[1.0]


def test_gradient_points_towards_the_true_depth(plane):
    for scale, sign in ((0.97, -1), (1.03, 1)):
        prediction, batch = plane.problem(scale=scale)
        ViewSynthesisLoss("l1", "mean")(prediction, batch).backward()
        assert (prediction.depths[0].grad * sign).sum() > 0


def test_top_k_beats_mean_where_a_source_is_occluded(plane):
    """Something close to one source hides the plane from it; the depth of least error is found without that source."""
    images = plane.images()
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    occluder = 0.5 + 0.4 * torch.sin(0.9 * columns + 0.5 * rows).double()
    images[:, 2, :, 10:40, 10:50] = occluder[10:40, 10:50]
    scales = torch.linspace(0.9, 1.1, 21).double()

    intrinsics, poses = plane.level_intrinsics(), plane.poses[None]
    # Pixels of the reference that the hidden part of that source shows, and that all sources see.
    mask = torch.zeros(1, 4, 1, 48, 64).double()
    mask[:, 2, :, 10:40, 10:50] = 1
    hidden, seen = synthesise_reference(mask, plane.depth()[None], intrinsics, poses)
    hidden = (hidden[:, 1, 0] > 0.99) & seen.all(dim=1)
    assert hidden.sum() > 300

    def right(selection: str) -> float:
        curves = [
            view_synthesis_map(images, scale * plane.depth()[None], intrinsics, poses, {"l1": 1.0}, selection, 2)[0]
            for scale in scales
        ]
        best = scales[torch.stack(curves).argmin(dim=0)]
        return ((best - 1).abs() < 0.021)[hidden].double().mean().item()

    assert right("top_k") > 0.9
    assert right("mean") < 0.6


def test_validity_is_that_of_the_projection(plane):
    depth = plane.depth()[None]
    intrinsics, poses = plane.level_intrinsics(), plane.poses[None].clone()
    poses[:, 3] = turned(poses[0, 3])
    _, valid = synthesise_reference(plane.images(), depth, intrinsics, poses)
    points = unproject(depth, intrinsics[:, 0]).flatten(1, 2)
    for source in (1, 2, 3):
        pixels, z = project(transform_points(poses[:, source], points), intrinsics[:, source])
        x, y = pixels.unflatten(1, plane.size).unbind(-1)
        expected = (x >= 0) & (x <= 63) & (y >= 0) & (y <= 47) & (z > 0).reshape(1, *plane.size)
        assert torch.equal(valid[:, source - 1], expected)
    assert 0 < valid[:, 0].sum() < valid[:, 0].numel() and not valid[:, 2].any()


@pytest.mark.parametrize("errors", ERRORS, ids=str)
def test_what_no_source_shows_never_contributes(plane, errors):
    """Behind a camera, out of view: no error, no gradient, whatever the colours; other sources decide alone."""
    loss = ViewSynthesisLoss(errors, "mean")
    prediction, batch = plane.problem(scale=1.05)
    batch.world_to_cam[:, 3] = turned(batch.world_to_cam[0, 3])
    without = batch.__class__(
        batch.images[:, :3], batch.intrinsics[:, :3], batch.world_to_cam[:, :3], batch.depth_range
    )
    fewer, _ = plane.problem(scale=1.05)
    fewer.intrinsics = [level[:, :3] for level in fewer.intrinsics]
    value = loss(prediction, batch)
    torch.testing.assert_close(value, loss(fewer, without))
    value.backward()
    _, valid = synthesise_reference(batch.images, prediction.depths[0], batch.intrinsics, batch.world_to_cam)
    unseen = ~valid.any(dim=1)
    assert unseen.sum() > 50 and (prediction.depths[0].grad[unseen] == 0).all()
    # A pixel's gradient comes from its own samples alone, and the reference's colours there mean nothing.
    batch.images[:, 0] = torch.where(unseen[:, None], 1 - batch.images[:, 0], batch.images[:, 0])
    torch.testing.assert_close(loss(prediction, batch), value)


def test_top_k_takes_valid_sources_first():
    errors = torch.tensor([0.0, 5.0, 1.0, 3.0]).double().reshape(1, 4, 1, 1)
    valid = torch.tensor([False, True, True, True]).reshape(1, 4, 1, 1)
    picked = {k: select_sources(errors, valid, "top_k", k)[0].item() for k in (1, 2, 3, 4, 9)}
    assert picked == {1: 1, 2: 2, 3: 3, 4: 3, 9: 3}
    assert select_sources(errors, valid, "mean")[0].item() == 3
    value, known = select_sources(errors, torch.zeros_like(valid), "top_k", 2)
    assert value.item() == 0 and not known.any()


@pytest.mark.parametrize("selection", ["top_k", "mean"])
@pytest.mark.parametrize("errors", ERRORS, ids=str)
def test_no_valid_pixel_gives_zero_and_finite_gradients(plane, errors, selection):
    prediction, batch = plane.problem(levels=2)
    batch.world_to_cam[:, 1:] = torch.stack([turned(p) for p in batch.world_to_cam[0, 1:]])
    loss = ViewSynthesisLoss(errors, selection)(prediction, batch)
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(depth.grad).all() for depth in prediction.depths)


def test_ssim_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    one, other = torch.rand(1, 1, 20, 30).double(), torch.rand(1, 1, 20, 30).double()
    error, _ = PHOTOMETRIC_ERRORS["ssim"](one, other, torch.ones(1, 20, 30, dtype=torch.bool))
    _, similarity = structural_similarity(
        one[0, 0].numpy(), other[0, 0].numpy(), win_size=3, data_range=1.0, full=True, use_sample_covariance=False
    )
    expected = (1 - torch.from_numpy(similarity)) / 2
    torch.testing.assert_close(error[0, 1:-1, 1:-1], expected[1:-1, 1:-1])


def test_windows_and_neighbours_have_to_be_valid():
    image, valid = torch.rand(1, 3, 9, 11).double(), torch.ones(1, 9, 11, dtype=torch.bool)
    valid[0, 4, 6] = False
    _, window = PHOTOMETRIC_ERRORS["ssim"](image, image, valid)
    assert (~window).nonzero()[:, 1:].tolist() == [[y, x] for y in (3, 4, 5) for x in (5, 6, 7)]
    _, neighbours = PHOTOMETRIC_ERRORS["gradient"](image, image, valid)
    assert (~neighbours[0, :-1, :-1]).nonzero().tolist() == [[3, 6], [4, 5], [4, 6]]
    assert not neighbours[0, -1].any() and not neighbours[0, :, -1].any()


def test_colour_errors_by_hand():
    image, target = (
        torch.tensor([0.5, 0.3, 0.2]).reshape(1, 3, 1, 1),
        torch.tensor([0.14, 0.3, 0.45]).reshape(1, 3, 1, 1),
    )
    valid = torch.ones(1, 1, 1, dtype=torch.bool)
    names = ("l1", "charbonnier", "l0.5", "smooth_l1")
    values = {name: PHOTOMETRIC_ERRORS[name](image, target, valid)[0].item() for name in names}
    assert values["smooth_l1"] == pytest.approx((0.36**2 + 0.25**2) / 6, abs=1e-6)
    assert values["l1"] == pytest.approx((0.36 + 0.25) / 3, abs=1e-6)
    assert values["charbonnier"] == pytest.approx((0.36 + 0.25) / 3, abs=1e-3)
    assert values["l0.5"] == pytest.approx((0.6 + 0.5 - 2 * 0.001**0.5) / 3, abs=1e-4)


def test_bfloat16_changes_nothing(plane):
    prediction, batch = plane.problem(scale=1.02)
    # Autocast leaves float64 alone.
    prediction.depths = [depth.float() for depth in prediction.depths]
    batch.images = batch.images.float()
    loss = ViewSynthesisLoss("ssim")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = loss(prediction, batch)
    assert torch.equal(under, loss(prediction, batch))


def test_wrong_settings_are_named(plane):
    with pytest.raises(UserError, match=r"no photometric error 'l3'.*gradient, ssim"):
        ViewSynthesisLoss({"l1": 1.0, "l3": 1.0})
    with pytest.raises(UserError, match="k of at least 1"):
        ViewSynthesisLoss(k=0)
    with pytest.raises(UserError, match="3 weights for a pyramid of 2 levels"):
        ViewSynthesisLoss(level_weights=(1.0, 1.0, 1.0))(*plane.problem(levels=2))


def turned(world_to_cam: torch.Tensor) -> torch.Tensor:
    """A camera that looks backwards from the same place."""
    return torch.diag(torch.tensor([-1.0, 1, -1, 1])).double() @ world_to_cam
