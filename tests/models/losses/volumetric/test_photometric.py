"""Photometric consistency of a signed distance field: published numbers, gradients, the true surface as a minimum."""

from dataclasses import replace

import pytest
import torch

from toolbox.geometry import transform_points
from toolbox.models.losses.volumetric import SDFConsistencyLoss, sdf_consistency_map
from toolbox.models.losses.volumetric.pair_loss import level_views
from toolbox.registry import LOSSES
from toolbox.structures import VolumetricPrediction

from .conftest import PlaneFragment, published_batch

ALL_PAIRS = torch.tensor([[i, j] for i in range(4) for j in range(4) if i != j])


@pytest.mark.parametrize("case", range(4))
def test_maps_are_the_published_ones(golden_losses, case):
    published = golden_losses["cases"][case]
    fragment = {**golden_losses, "vol_origin_partial": torch.zeros(1, 3), "world_to_aligned_camera": torch.eye(4)[None]}
    fragment |= {"tsdf_list": [], "occ_list": []}
    first, second = published["i"], published["j"]
    views = level_views([published_batch(fragment)], 0, published["scale"], torch.tensor([first, second]), True)
    positions = transform_points(golden_losses["extrinsics"][0, first], published["vox_cam_0"])
    sdf = published["sdf"][:, 0].requires_grad_()
    errors, valid = sdf_consistency_map(
        sdf,
        positions,
        views.images * 255,
        views.intrinsics,
        views.world_to_cam,
        torch.tensor([[0, 1], [1, 0]]),
        torch.tensor([0.3, -torch.inf]),
        published_sampling=True,
    )
    expected = published["l1"][0]
    assert int(valid.sum()) == len(expected)
    torch.testing.assert_close(errors[valid], expected, rtol=0, atol=1e-3 * 255)
    torch.testing.assert_close(errors[valid].mean(), expected.mean(), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(errors[valid].mean(), sdf)
    golden_gradient = published["grad_l1mean_sdf"][:, 0]
    assert (gradient - golden_gradient).norm() < 1e-3 * golden_gradient.norm()


WEAK_PAIRS = {"max_distance": None, "seam_views": 3, "seam_distance": 4}


@pytest.mark.parametrize(("variant", "pairs"), [("self", {}), ("gt", WEAK_PAIRS)])
@pytest.mark.parametrize("fragment", [0, 1])
def test_whole_fragments_give_the_published_loss(published_fragments, fragment, variant, pairs):
    prediction, batch, expected = published_fragments(fragment, variant)
    loss = SDFConsistencyLoss(published_sampling=True, pairs=pairs)
    for level in range(3):
        torch.testing.assert_close(
            loss.level_loss(prediction, batch, level), expected["scales"][str(level)]["rgb_loss"], rtol=1e-4, atol=0
        )
    torch.testing.assert_close(loss(prediction, batch), expected["rgb_loss"], rtol=1e-4, atol=0)


def plane_map(problem: PlaneFragment, sdf, **options):
    intrinsics = problem.intrinsics.expand(4, 3, 3)
    near = torch.full((len(ALL_PAIRS),), 0.3).double()
    return sdf_consistency_map(
        sdf, problem.positions(), problem.images(), intrinsics, problem.poses, ALL_PAIRS, near, **options
    )


def test_the_true_surface_is_a_minimum(plane_fragment):
    def mean(offset: float) -> float:
        errors, valid = plane_map(plane_fragment, torch.full((plane_fragment.voxels,), offset).double())
        assert valid.float().mean() > 0.5
        return errors[valid].mean().item()

    offsets = [-0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1]
    exact = [mean(offset) for offset in offsets]
    assert exact[3] == min(exact) and exact[3] < 2e-3
    assert exact == sorted(exact[:4], reverse=True) + sorted(exact[4:])


def test_descent_finds_the_surface(plane_fragment):
    """Voxels up to 6 cm off are moved onto the plane along their rays."""
    generator = torch.Generator().manual_seed(1)
    wrong = (torch.rand(plane_fragment.voxels, generator=generator).double() - 0.5) * 0.12
    sdf = wrong.clone().requires_grad_()
    optimiser = torch.optim.Adam([sdf], lr=4e-3)
    for _ in range(60):
        errors, valid = plane_map(plane_fragment, sdf)
        optimiser.zero_grad()
        (errors * valid).sum().backward()
        optimiser.step()
    seen = valid.sum(dim=0) >= 6
    assert seen.float().mean() > 0.5
    assert sdf[seen].abs().mean() < 0.1 * wrong[seen].abs().mean()


def test_gradients(plane_fragment):
    problem = PlaneFragment(voxels=12)
    sdf = (torch.randn(12).double() * 0.02).requires_grad_()

    def total(values):
        errors, valid = plane_map(problem, values)
        return (errors * valid).sum(dim=0)

    assert torch.autograd.gradcheck(total, sdf, eps=1e-7, atol=1e-4)


def test_what_one_image_does_not_show_is_not_valid(plane_fragment):
    """A voxel behind the cameras and one far aside stay finite and out."""
    sdf = torch.zeros(2).double().requires_grad_()
    positions = torch.tensor([[0.1, 0.0, -2.0], [9.0, 0.2, 2.4]]).double()
    near = torch.full((len(ALL_PAIRS),), 0.3).double()
    errors, valid = sdf_consistency_map(
        sdf,
        positions,
        plane_fragment.images(),
        plane_fragment.intrinsics.expand(4, 3, 3),
        plane_fragment.poses,
        ALL_PAIRS,
        near,
    )
    assert not valid.any()
    errors.sum().backward()
    assert torch.isfinite(errors).all() and torch.isfinite(sdf.grad).all()


def test_the_loss_pools_levels_and_samples(plane_fragment):
    loss = LOSSES.build({"type": "SDFConsistencyLoss", "weight": 2.0, "level_weights": (0.25, 0.75)})
    single = loss(*plane_fragment.problem(samples=1))
    torch.testing.assert_close(loss(*plane_fragment.problem(samples=2)), single)
    parts = [loss.level_loss(*plane_fragment.problem(), level) for level in range(2)]
    torch.testing.assert_close(single, 2 * (0.25 * parts[0] + 0.75 * parts[1]))


def test_a_volume_without_voxels_costs_nothing(plane_fragment):
    prediction, batch = plane_fragment.problem()
    nothing = prediction.levels[0].select(torch.zeros(len(prediction.levels[0]), dtype=torch.bool))
    unsupervised = prediction.levels[1]
    unsupervised.supervised = torch.zeros(len(unsupervised), dtype=torch.bool)
    prediction = VolumetricPrediction([nothing, unsupervised], nothing)
    value = SDFConsistencyLoss(level_weights=None)(prediction, batch)
    value.backward()
    assert value == 0


def test_the_views_of_the_fragment_before_come_first(plane_fragment):
    """Around the seam, the same views as one fragment of four."""
    whole, batch = plane_fragment.problem(levels=1)
    per_view = ("images", "intrinsics", "world_to_cam")
    halves = [
        replace(batch, **{name: getattr(batch, name)[:, part] for name in per_view})
        for part in (slice(0, 2), slice(2, 4))
    ]
    level = whole.levels[0]
    level.with_previous = True
    loss = SDFConsistencyLoss(level_weights=None, pairs={"max_distance": 3})
    across = loss(VolumetricPrediction([level], level, previous=halves[0]), halves[1])
    torch.testing.assert_close(across, loss(VolumetricPrediction([level], level), batch))
