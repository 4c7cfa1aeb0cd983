"""Warper, level intrinsics, regularizers, regression, confidence."""

import pytest
import torch
from torch.autograd import gradcheck

from toolbox.geometry import invert_rigid, project, transform_points, unproject
from toolbox.models.cost_volumes import (
    HourglassRegularizer,
    LevelGeometry,
    PlaneSweepWarper,
    SoftArgmin,
    UNetRegularizer,
    WindowConfidence,
)
from toolbox.models.cost_volumes.level import level_intrinsics


@pytest.mark.parametrize(("published", "deviation"), [(False, (0, 1e-4)), (True, (0.3, 0.51))])
def test_sampled_where_points_project_to(tabletop, published, deviation):
    """A source that holds its own x gives the x that each point projects to; published sampling is half a pixel off."""
    height, width = tabletop.depths[0].shape
    source = torch.arange(width).double().expand(1, 1, height, width)
    depth = torch.from_numpy(tabletop.depths[:1]).double()
    intrinsics, poses = (torch.from_numpy(getattr(tabletop, k)).double() for k in ("intrinsics", "world_to_cam"))
    level = LevelGeometry(intrinsics[None], poses[None], torch.tensor([[1.0, 2.0]]).double(), (height, width))
    warped, valid = PlaneSweepWarper(published)(source, depth[:, None], level, 1)

    world = transform_points(invert_rigid(poses[0]), unproject(depth[0], intrinsics[0]).reshape(-1, 3))
    xy, _ = project(transform_points(poses[1], world), intrinsics[1])
    extent = torch.tensor([width, height])
    well_inside = ((xy - extent / 2).abs() < extent / 2 - 2).all(dim=1) & (valid[0, 0] & (depth[0] > 0)).reshape(-1)
    largest = (warped.reshape(-1) - xy[:, 0])[well_inside].abs().max().item()
    assert deviation[0] <= largest <= deviation[1]


def test_level_intrinsics_keep_points_where_they_are():
    """Fails with the published scaling: no half-pixel shift, and the ratio of heights for x."""
    intrinsics = torch.tensor([[90.0, 0, 33.0], [0, 95.0, 21.0], [0, 0, 1]]).double()[None, None]
    depth = torch.full((48, 80), 2.0).double()
    centres = unproject(depth, intrinsics[0, 0]).reshape(24, 2, 40, 2, 3).mean(dim=(1, 3))

    def level_centres(published: bool) -> torch.Tensor:
        scaled = level_intrinsics(intrinsics, (48, 80), (24, 40), half_pixel=True, published=published)
        return unproject(depth[:24, :40], scaled[0, 0])

    torch.testing.assert_close(level_centres(published=False), centres)
    assert (level_centres(published=True) - centres).abs().max() > 1e-3
    narrow = level_intrinsics(intrinsics, (48, 80), (24, 20), half_pixel=True)
    assert narrow[0, 0, 0, 0] == pytest.approx(90 / 4) and narrow[0, 0, 1, 1] == pytest.approx(95 / 2)


@pytest.mark.parametrize("norm", ["batch", "group", None])
@pytest.mark.parametrize(
    ("regularizer", "channels"), [(HourglassRegularizer, (4, 8, 8)), (UNetRegularizer, (4, 8, 8, 16))]
)
def test_regularizers_keep_the_size(regularizer, channels, norm):
    network = regularizer(6, channels=channels, norm=norm)
    divisor = network.size_divisor
    volume = torch.randn(2, 6, divisor, 2 * divisor, 3 * divisor)
    assert network(volume).shape == (2, divisor, 2 * divisor, 3 * divisor)


def test_soft_argmin():
    hypotheses = torch.arange(1.0, 5.0, dtype=torch.float64).reshape(1, 4, 1, 1).expand(1, 4, 2, 3)
    certain = torch.zeros_like(hypotheses)
    certain[:, 2] = 1
    assert (SoftArgmin()(certain, hypotheses) == 3).all()
    scores = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda s: SoftArgmin()(s.softmax(dim=1), hypotheses), (scores,))


def test_confidence_is_the_mass_around_the_expectation():
    probabilities = torch.tensor([0.05, 0.1, 0.5, 0.2, 0.1, 0.05])[None, :, None, None]
    expected = int((probabilities[0, :, 0, 0] * torch.arange(6)).sum())
    assert expected == 2
    assert WindowConfidence()(probabilities).item() == pytest.approx(0.1 + 0.5 + 0.2 + 0.1)
    first = torch.zeros(1, 6, 1, 1)
    first[:, 0] = 1
    assert WindowConfidence()(first).item() == 1, "the window may reach over the ends"
