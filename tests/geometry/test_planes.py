"""Multiplane images: published numbers, compositing in closed form, homographies, gradients."""

import math

import pytest
import torch

from toolbox.geometry import (
    composite_depth,
    composite_weights,
    invert_rigid,
    pixel_grid,
    plane_points,
    project,
    transform_points,
    warp_planes,
)

# Weights add up to 1 but for 3e-7, and the published background is 1000 away.
ROUNDED_WEIGHTS = 3e-4


@pytest.fixture(scope="module")
def golden(shared) -> dict:
    return torch.load(shared / "golden/msr/mpi.pt", weights_only=True)["render"]


@pytest.mark.parametrize(("background", "name"), [(None, "bg_finite"), (1000.0, "bg_inf")])
def test_source_view_is_the_published_one(golden, background, name):
    points = plane_points(golden["disparity"], golden["K"], (24, 32))
    torch.testing.assert_close(points.movedim(-1, 2), golden["xyz_src"])
    reaching, weights = composite_weights(golden["mpi_sigma"][:, :, 0], points)
    torch.testing.assert_close(reaching[:, :, None], golden[name]["transparency_acc"])
    torch.testing.assert_close(weights[:, :, None], golden[name]["weights"])
    depth = composite_depth(weights, points[..., 2], background)
    torch.testing.assert_close(depth[:, None], golden[name]["depth"], rtol=1e-4, atol=ROUNDED_WEIGHTS)


@pytest.mark.parametrize(("background", "name"), [(None, "tgt_bg_finite"), (1000.0, "tgt_bg_inf")])
def test_target_view_is_the_published_one(golden, background, name):
    planes = torch.cat((golden["mpi_rgb"], golden["mpi_sigma"]), dim=2)
    warped, points, seen = warp_planes(planes, golden["disparity"], golden["K"], golden["K"], golden["G_tgt_src"])
    _, weights = composite_weights(warped[:, :, 3], points)
    torch.testing.assert_close(
        (weights[:, :, None] * warped[:, :, :3]).sum(1), golden[name]["rgb"], rtol=1e-4, atol=1e-5
    )
    depth = composite_depth(weights, points[..., 2], background)
    torch.testing.assert_close(depth[:, None], golden[name]["depth"], rtol=1e-4, atol=ROUNDED_WEIGHTS)
    assert torch.equal(seen.sum(dim=1, keepdim=True).float(), golden[name]["mask"])


def camera(shift: float, turn: float) -> torch.Tensor:
    matrix = torch.eye(4).double()
    matrix[0, 0] = matrix[2, 2] = math.cos(turn)
    matrix[0, 2], matrix[2, 0] = math.sin(turn), -math.sin(turn)
    matrix[:3, 3] = torch.tensor([shift, 0.5 * shift, -0.3 * shift])
    return matrix


INTRINSICS = torch.tensor([[[30.0, 0, 15.2], [0, 28.0, 10.9], [0, 0, 1]]]).double()
OTHER_INTRINSICS = torch.tensor([[[26.0, 0, 16.4], [0, 27.0, 12.1], [0, 0, 1]]]).double()


def test_an_opaque_plane_hides_those_behind():
    points = plane_points(torch.tensor([[2.0, 1.0, 0.5]]).double(), INTRINSICS, (6, 8))
    density = torch.tensor([0.0, 1e4, 1e4]).double().reshape(1, 3, 1, 1).expand(1, 3, 6, 8)
    _, weights = composite_weights(density, points)
    expected = torch.tensor([0.0, 1.0, 0.0]).double().reshape(1, 3, 1, 1).expand(1, 3, 6, 8)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)
    depth = composite_depth(weights, points[..., 2])
    torch.testing.assert_close(depth, torch.ones_like(depth), rtol=0, atol=1e-4)


def test_planes_are_seen_where_their_points_are():
    """The values are positions on the source's image: projecting a target's point gives them back."""
    size = (24, 32)
    disparities = torch.tensor([[1.6, 0.8, 0.4]]).double()
    src_to_tgt = camera(0.15, 0.1)[None]
    positions = pixel_grid(*size, like=disparities).movedim(-1, 0).expand(1, 3, 2, *size)
    warped, points, seen = warp_planes(positions, disparities, INTRINSICS, OTHER_INTRINSICS, src_to_tgt)
    shown = seen & (warped > 0).all(dim=2) & (warped < torch.tensor([31, 23])[:, None, None]).all(dim=2)
    assert 0.4 < shown.double().mean() < 1
    in_source = transform_points(invert_rigid(src_to_tgt), points.flatten(1, 3))
    pixels, depth = project(in_source, INTRINSICS)
    expected = warped.movedim(2, -1).flatten(1, 3)
    rows = shown.flatten(1)
    torch.testing.assert_close(pixels[rows], expected[rows])
    per_plane = (1 / disparities)[..., None, None].expand_as(seen).flatten(1)
    torch.testing.assert_close(depth[rows], per_plane[rows])
    target, _ = project(points.flatten(1, 3), OTHER_INTRINSICS)
    grid = pixel_grid(*size, like=disparities).expand(1, 3, *size, 2).flatten(1, 3)
    torch.testing.assert_close(target[rows], grid[rows])


def test_planes_behind_the_target_are_not_seen():
    values = torch.rand(1, 2, 1, 24, 32).double()
    passed_by = torch.eye(4).double()
    passed_by[2, 3] = -1.2
    disparities = torch.tensor([[1.0, 0.5]]).double()
    warped, _, seen = warp_planes(values, disparities, INTRINSICS, INTRINSICS, passed_by[None])
    assert not seen[:, 0].any() and seen[:, 1].any()
    assert torch.isfinite(warped).all()


def test_gradients():
    disparities = torch.tensor([[1.6, 0.7]]).double().requires_grad_()
    values = torch.rand(1, 2, 2, 4, 5).double().requires_grad_()
    density = torch.rand(1, 2, 4, 5).double().requires_grad_()
    small = INTRINSICS.clone()
    small[:, :2] /= 6

    def rendered(v, s, d):
        _, weights = composite_weights(s, plane_points(d, small, (4, 5)))
        warped, points, _ = warp_planes(v, d, small, small, camera(0.1, 0.05)[None])
        return composite_depth(weights, points[..., 2], 10.0), (weights[:, :, None] * warped).sum(1)

    assert torch.autograd.gradcheck(rendered, (values, density, disparities), atol=1e-4)
