"""Superpixels as planes: published numbers, gradients, a plane as the minimum."""

import pytest
import torch

from toolbox.errors import UserError
from toolbox.geometry import transform_points
from toolbox.models.losses.volumetric import (
    SDFConsistencyLoss,
    SuperpixelPlanarLoss,
    plane_deviation_map,
    superpixel_planar_map,
)
from toolbox.registry import LOSSES

from .conftest import PlaneFragment


@pytest.mark.parametrize("case", range(3))
def test_deviations_are_the_published_ones(golden_losses, case):
    published = golden_losses["planar"][case]
    points = published["surf3d"].requires_grad_()
    x, y = published["im_xy"].floor().long().unbind(dim=1)
    deviation, valid = plane_deviation_map(points, published["segments_im"][y, x], published["thresh"])
    loss = (deviation * valid).sum() / valid.sum().clamp(min=1)
    torch.testing.assert_close(loss, published["loss"], rtol=1e-4, atol=1e-7)
    (gradient,) = torch.autograd.grad(loss, points)
    assert (gradient - published["grad"]).norm() <= 1e-4 * published["grad"].norm()


@pytest.mark.parametrize("case", range(4))
def test_maps_of_pairs_are_the_published_ones(golden_losses, case):
    published = golden_losses["cases"][case]
    scale, views = published["scale"], [published["i"], published["j"]]
    intrinsics = golden_losses["intrinsics"][0, views] / torch.tensor([2.0**scale, 2.0**scale, 1])[:, None]
    world_to_cam = torch.linalg.inv(golden_losses["extrinsics"][0, views].double()).float()
    sdf = published["sdf"][:, 0].requires_grad_()
    deviation, valid = superpixel_planar_map(
        sdf,
        transform_points(golden_losses["extrinsics"][0, views[0]], published["vox_cam_0"]),
        golden_losses["segments"][str(2**scale)][views].long(),
        intrinsics,
        world_to_cam,
        torch.tensor([[0, 1], [1, 0]]),
        torch.tensor([0.3, -torch.inf]),
        min_points=published["plane_thresh"],
        published_sampling=True,
    )
    loss = ((deviation * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)).sum()
    torch.testing.assert_close(loss, published["planar_loss"], rtol=1e-4, atol=1e-7)
    (gradient,) = torch.autograd.grad(loss, sdf)
    assert (gradient[:, None] - published["grad_planar_sdf"]).norm() <= 1e-3 * published["grad_planar_sdf"].norm()


@pytest.mark.parametrize("fragment", [0, 1])
def test_whole_fragments_give_the_published_losses(published_fragments, fragment):
    prediction, batch, expected = published_fragments(fragment)
    loss = SuperpixelPlanarLoss(published_sampling=True)
    for level in range(3):
        planar = loss.level_loss(prediction, batch, level)
        torch.testing.assert_close(planar, expected["scales"][str(level)]["planar_loss"], rtol=1e-4, atol=0)
    total = SDFConsistencyLoss(published_sampling=True)(prediction, batch) + loss(prediction, batch)
    torch.testing.assert_close(total, expected["total_loss"], rtol=1e-4, atol=0)


def test_each_direction_counts_as_often_as_published(published_fragments):
    prediction, batch, _ = published_fragments(1)
    values = [SuperpixelPlanarLoss(published_sampling=flag)(prediction, batch) for flag in (False, True)]
    torch.testing.assert_close(values[0], values[1], rtol=0.05, atol=0)


def random_planes(points_each: int, noise: float = 0.0):
    generator = torch.Generator().manual_seed(7)
    points, groups = [], []
    for group, normal in enumerate([[0.1, -0.05, 0.5], [-0.2, 0.1, 0.4], [0.0, 0.3, 0.35]]):
        rays = torch.rand(points_each, 2, generator=generator).double() - 0.5
        rays = torch.cat((rays, torch.ones_like(rays[:, :1])), dim=1)
        depth = 1 / (rays @ torch.tensor(normal).double())
        points.append(rays * (depth + noise * torch.randn(points_each, generator=generator).double())[:, None])
        groups.append(torch.full((points_each,), 2 * group))
    order = torch.randperm(3 * points_each, generator=generator)
    return torch.cat(points)[order], torch.cat(groups)[order]


def test_planes_are_minima():
    """With hardly a ridge nothing remains of a plane; with the usual one, far less than of a rough surface."""
    flat, groups = random_planes(60)
    rough, _ = random_planes(60, noise=0.05)
    assert plane_deviation_map(flat, groups, 10, ridge=1e-9)[0].max() < 1e-4
    flat_error, rough_error = (plane_deviation_map(points, groups, 10)[0].mean() for points in (flat, rough))
    assert flat_error < 0.1 * rough_error


def test_groups_do_not_touch_each_other():
    points, groups = random_planes(40, noise=0.03)
    deviation, _ = plane_deviation_map(points, groups, 10)
    alone = groups == 2
    torch.testing.assert_close(deviation[alone], plane_deviation_map(points[alone], groups[alone], 10)[0])


def test_small_groups_are_not_valid():
    points, groups = random_planes(40)
    kept = (groups != 2) | (torch.cumsum(groups == 2, dim=0) <= 5)
    _, valid = plane_deviation_map(points[kept], groups[kept], min_points=6)
    assert torch.equal(valid, groups[kept] != 2)
    assert plane_deviation_map(points[:0], groups[:0], 6)[1].shape == (0,)


def test_gradients():
    points, groups = random_planes(5, noise=0.1)
    points.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: plane_deviation_map(p, groups, 3)[0], points)


def test_the_plane_is_a_minimum_of_the_map():
    problem = PlaneFragment(voxels=300)
    segments = torch.zeros(4, *problem.size, dtype=torch.int64)
    segments[:, :, 30:] = 1
    pairs = torch.tensor([[0, 1], [1, 0], [2, 3]])

    def mean(sdf) -> torch.Tensor:
        deviation, valid = superpixel_planar_map(
            sdf,
            problem.positions(),
            segments,
            problem.intrinsics.expand(4, 3, 3),
            problem.poses,
            pairs,
            torch.full((3,), 0.3).double(),
            min_points=30,
        )
        assert valid.any(dim=1).all()
        return deviation[valid].mean()

    wavy = 0.05 * torch.randn(problem.voxels, generator=torch.Generator().manual_seed(2)).double()
    assert mean(torch.zeros(problem.voxels).double()) < 0.1 * mean(wavy)


def test_gradients_of_the_map():
    problem = PlaneFragment(voxels=10)
    segments = torch.zeros(4, *problem.size, dtype=torch.int64)
    sdf = (0.05 * torch.randn(10).double()).requires_grad_()

    def deviations(values):
        deviation, valid = superpixel_planar_map(
            values,
            problem.positions(),
            segments,
            problem.intrinsics.expand(4, 3, 3),
            problem.poses,
            torch.tensor([[0, 1], [3, 2]]),
            torch.full((2,), 0.3).double(),
            min_points=3,
        )
        return deviation[valid]

    assert torch.autograd.gradcheck(deviations, sdf)


def test_missing_superpixels_are_named(plane_fragment):
    loss = LOSSES.build({"type": "SuperpixelPlanarLoss", "level_weights": None})
    with pytest.raises(UserError, match=r"no superpixels.*Superpixels"):
        loss(*plane_fragment.problem())
