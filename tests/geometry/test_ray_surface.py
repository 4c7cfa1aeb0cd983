"""Voxels moved along rays, and what pairs of views see of them."""

import torch

from toolbox.geometry import inside_image, project, project_pairs, surface_points, transform_points

INTRINSICS = torch.tensor([[70.0, 0, 33.5], [0, 58.0, 21.5], [0, 0, 1]]).double().expand(3, 3, 3)


def poses() -> torch.Tensor:
    matrices = torch.eye(4).double().repeat(3, 1, 1)
    matrices[:, :3, 3] = torch.tensor([[0, 0, 0], [-0.2, 0.05, 0.1], [0.3, 0, -2.9]]).double()
    return matrices


def points(number: int = 20) -> torch.Tensor:
    spread = torch.rand(number, 3).double() - 0.5
    return spread * torch.tensor([1.2, 0.8, 0.3]) + torch.tensor([0, 0, 2.4])


def test_surface_points_lie_along_the_ray_of_each_view():
    positions, sdf = points(), torch.linspace(-0.2, 0.3, 20).double()
    moved = surface_points(sdf, positions, poses())
    voxels = transform_points(poses(), positions.expand(3, -1, -1))
    torch.testing.assert_close(moved.norm(dim=-1), voxels.norm(dim=-1) + sdf)
    torch.testing.assert_close(torch.linalg.cross(moved, voxels), torch.zeros_like(moved), rtol=0, atol=1e-9)


def test_pairs_see_the_first_view_s_points_in_the_second():
    positions, sdf = points(), 0.05 * torch.randn(20).double()
    pairs, near = torch.tensor([[0, 1], [1, 0]]), torch.full((2,), 0.3).double()
    seen = project_pairs(sdf, positions, INTRINSICS, poses(), pairs, (48, 64), near)
    for row, (first, second) in enumerate(pairs.tolist()):
        world = seen.surface[first] - poses()[first, :3, 3]
        expected, _ = project(world + poses()[second, :3, 3], INTRINSICS[second])
        torch.testing.assert_close(seen.other_pixels[row], expected)
        own, _ = project(positions + poses()[first, :3, 3], INTRINSICS[first])
        torch.testing.assert_close(seen.pixels[first], own)
        shown = inside_image(expected, (48, 64)) & inside_image(own, (48, 64))
        assert 0 < shown.sum() < 20 or shown.all()
        assert not (seen.valid[row] & ~shown).any()


def test_points_behind_or_too_near_are_not_valid():
    """The third camera stands within the points."""
    pairs, near = torch.tensor([[0, 2], [2, 0], [0, 1]]), torch.tensor([0.3, 0.3, 9.0]).double()
    seen = project_pairs(torch.zeros(20).double(), points(), INTRINSICS, poses(), pairs, (48, 64), near)
    assert not seen.valid.any()


def test_corner_pixels_centres_are_the_borders():
    corners = torch.tensor([[0, 0], [63, 47], [63.01, 20], [20, -0.01]]).double()
    assert inside_image(corners, (48, 64)).tolist() == [True, True, False, False]
