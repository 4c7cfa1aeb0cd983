"""A square in front of a wall: what it hides from each source is known in closed form."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from toolbox.errors import UserError
from toolbox.geometry import invert_rigid, project, transform_points, unproject
from toolbox.models.losses import ViewSynthesisLoss, hidden_from_sources, synthesise_reference, view_synthesis_map
from toolbox.structures import DepthPrediction, MultiViewBatch

from .conftest import pose, texture

SIZE = (60, 80)
INTRINSICS = torch.tensor([[90.0, 0, 41.5], [0, 95.0, 27.0], [0, 0, 1]]).double()
WALL, NEAR = 3.0, 1.5
# Left, right, top and bottom edge of the square, in the world.
SQUARE = (-0.25, 0.2, -0.15, 0.25)
POSES = torch.stack([pose(0, 0, 0), pose(0.03, -0.35, 0.05), pose(-0.04, 0.3, -0.1), pose(0, 0.05, 0.3)])


def on_square(points: Tensor) -> Tensor:
    left, right, top, bottom = SQUARE
    x, y = points[..., 0], points[..., 1]
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def seen(world_to_cam: Tensor) -> tuple[Tensor, Tensor]:
    """Points in the world and depths (H, W) that a camera sees."""
    to_world = invert_rigid(world_to_cam)
    centre = to_world[:3, 3]
    rays = unproject(torch.ones(1, *SIZE).double(), INTRINSICS[None])[0] @ to_world[:3, :3].T
    near, far = (centre + (z - centre[2]) / rays[..., 2:] * rays for z in (NEAR, WALL))
    points = torch.where(on_square(near)[..., None], near, far)
    return points, transform_points(world_to_cam, points.flatten(0, 1))[:, 2].reshape(SIZE)


def truly_hidden(points: Tensor, world_to_cam: Tensor) -> Tensor:
    """Points of the wall whose line of sight to a camera crosses the square."""
    centre = invert_rigid(world_to_cam)[:3, 3]
    crossing = centre + (NEAR - centre[2]) / (points[..., 2:] - centre[2]) * (points - centre)
    return (points[..., 2] > NEAR + 0.1) & on_square(crossing)


@pytest.fixture
def problem() -> tuple[DepthPrediction, MultiViewBatch, Tensor]:
    """True depth, the batch, and what is hidden from each source (and inside of it)."""
    images = torch.stack([_image(p) for p in POSES])[None]
    points, depth = seen(POSES[0])
    intrinsics = INTRINSICS.expand(1, 4, 3, 3)
    batch = MultiViewBatch(images, intrinsics, POSES[None], torch.tensor([[1.0, 4.0]]).double())
    prediction = DepthPrediction([depth[None].requires_grad_()], [intrinsics], torch.ones(1, *SIZE).double())
    hidden = torch.stack([truly_hidden(points, p) for p in POSES[1:]])[None]
    _, inside = synthesise_reference(images, depth[None].detach(), intrinsics, POSES[None])
    return prediction, batch, hidden & inside


def _image(world_to_cam: Tensor) -> Tensor:
    """The square's texture is finer than the wall's."""
    points, _ = seen(world_to_cam)
    near = (points[..., 2] < NEAR + 0.1)[None]
    return torch.where(near, 0.5 + 0.45 * torch.sin(60 * points.sum(dim=-1)), texture(points))


def test_the_hidden_pixels_are_found(problem):
    prediction, batch, truth = problem
    found = hidden_from_sources(prediction.depths[0], batch.intrinsics, batch.world_to_cam, 0.05)
    assert found.shape == (1, 3, *SIZE) and not found.requires_grad
    assert (truth.flatten(2).sum(dim=-1) > 40).all()
    overlap = (found & truth).sum() / (found | truth).sum()
    assert overlap > 0.8, overlap
    assert (found & truth).sum() > 0.97 * truth.sum()
    near = prediction.depths[0] < 2
    assert not (found & near[:, None]).any()


def test_a_slanted_surface_hides_nothing_of_itself(plane):
    found = hidden_from_sources(plane.depth()[None], plane.level_intrinsics(), plane.poses[None], 0.02)
    assert not found.any()


def test_unknown_depth_and_points_behind_a_source_hide_nothing(problem):
    prediction, batch, _ = problem
    depth = prediction.depths[0].detach().clone()
    depth[depth < 2] = 0
    assert not hidden_from_sources(depth, batch.intrinsics, batch.world_to_cam, 0.05).any()
    ahead = batch.world_to_cam.clone()
    ahead[:, 1:, 2, 3] -= 2.0
    between = hidden_from_sources(prediction.depths[0], batch.intrinsics, ahead, 0.05)
    assert not between.any()


def test_samples_of_a_batch_do_not_mix(problem):
    prediction, batch, _ = problem
    depth = torch.cat((prediction.depths[0].detach(), torch.full((1, *SIZE), WALL).double()))
    both = hidden_from_sources(depth, batch.intrinsics.repeat(2, 1, 1, 1), batch.world_to_cam.repeat(2, 1, 1, 1), 0.05)
    assert torch.equal(both[:1], hidden_from_sources(depth[:1], batch.intrinsics, batch.world_to_cam, 0.05))
    assert both[0].any() and not both[1].any()


def test_occlusion_takes_the_hidden_sources_out(problem):
    """With the mean over sources the true depth errs where a source is hidden; the mask removes that error."""
    prediction, batch, _ = problem
    blind, aware = (ViewSynthesisLoss("l1", "mean", occlusion=o)(prediction, batch) for o in (None, 0.05))
    assert aware < 0.6 * blind
    aware.backward()
    assert torch.isfinite(prediction.depths[0].grad).all()


def test_the_true_depth_is_the_minimum_where_a_source_is_hidden(problem):
    """Both of two sources decide (mean), and the square hides the wall from one of them."""
    prediction, batch, hidden = problem
    true = prediction.depths[0].detach()
    scales = torch.linspace(0.88, 1.12, 13).double()
    wall = true > 2
    views = slice(0, 3)
    images, intrinsics, poses = batch.images[:, views], batch.intrinsics[:, views], batch.world_to_cam[:, views]
    _, inside = synthesise_reference(images, true, intrinsics, poses)
    some = hidden[:, :2].any(dim=1) & inside.all(dim=1)

    def right(occlusion: float | None) -> float:
        curves = []
        for scale in scales:
            depth = torch.where(wall, scale * true, true)
            curves.append(
                view_synthesis_map(images, depth, intrinsics, poses, {"l1": 1.0}, "mean", occlusion=occlusion)[0]
            )
        best = scales[torch.stack(curves).argmin(dim=0)]
        return ((best - 1).abs() < 0.021)[some].double().mean().item()

    assert some.sum() > 100
    assert right(0.05) > 0.95
    assert right(None) < 0.4


def test_a_hidden_point_projects_behind_another(problem):
    """The definition by brute force: some pixel whose projection is less than 1.5 pixels away is nearer."""
    prediction, batch, _ = problem
    depth = prediction.depths[0].detach()
    found = hidden_from_sources(depth, batch.intrinsics, batch.world_to_cam, 0.05)[0]
    points = unproject(depth, batch.intrinsics[:, 0])[0].flatten(0, 1)
    for source in range(3):
        xy, z = project(transform_points(batch.world_to_cam[0, source + 1], points), INTRINSICS)
        hidden = found[source].flatten().nonzero()[:, 0]
        for pixel in hidden[:: len(hidden) // 20].tolist():
            close = ((xy - xy[pixel]).abs() < 1.5).all(dim=-1)
            assert (z[pixel] > 1.05 * z[close]).any()


def test_gradient(small_plane):
    depth = small_plane.depth()[None] * (1.05 + 0.02 * torch.rand(1, 8, 10).double())
    depth[:, 3:6, 4:7] *= 0.6
    intrinsics, poses = small_plane.level_intrinsics(), small_plane.poses[None]
    assert hidden_from_sources(depth, intrinsics, poses, 0.05).any()

    def error(depth):
        values, valid = view_synthesis_map(
            small_plane.images(), depth, intrinsics, poses, {"l1": 1.0}, "mean", occlusion=0.05
        )
        return values * valid

    assert gradcheck(error, (depth.requires_grad_(),))


def test_a_tolerance_is_positive():
    with pytest.raises(UserError, match=r"occlusion=0\.0"):
        ViewSynthesisLoss(occlusion=0.0)
