"""Texture tells right from wrong depth; a blank wall does not."""

import torch

from toolbox.models.reconstructors import photometric_distinctness


def plane_seen_from_three(texture: float) -> tuple[torch.Tensor, ...]:
    """A fronto-parallel plane at 2 m, textured in its left half alone, and cameras 0.3 m to either side."""
    height, width, focal = 48, 64, 60.0
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = []
    for centre in (0.0, 0.3, -0.3):
        across = (x - 31.0) / focal * 2 + centre
        wave = torch.sin(9 * across) * torch.cos(7 * (y - 22.0) / focal * 2)
        images.append((0.5 + texture * wave * (across < 0)).expand(3, -1, -1))
    intrinsics = torch.tensor([[focal, 0, 31.0], [0, focal, 22.0], [0, 0, 1]]).expand(1, 3, 3, 3)
    world_to_cam = torch.eye(4, dtype=torch.float64).repeat(1, 3, 1, 1)
    world_to_cam[0, 1, 0, 3], world_to_cam[0, 2, 0, 3] = -0.3, 0.3
    return torch.stack(images)[None].float(), torch.full((1, height, width), 2.0), intrinsics, world_to_cam


def test_texture_makes_depth_distinct():
    distinct = photometric_distinctness(*plane_seen_from_three(0.4))[0]
    assert (distinct[8:-8, 16:24] > 0.05).float().mean() > 0.9
    assert distinct[8:-8, 44:52].abs().max() < 0.01
    blank = photometric_distinctness(*plane_seen_from_three(0.0))
    assert blank.abs().max() < 1e-3


def test_a_wrong_depth_is_not_distinct():
    images, depth, *cameras = plane_seen_from_three(0.4)
    wrong = photometric_distinctness(images, depth * 1.2, *cameras)[0]
    assert (wrong[8:-8, 16:24] < 0).float().mean() > 0.9


def test_what_nobody_sees_is_not_distinct():
    images, depth, intrinsics, world_to_cam = plane_seen_from_three(0.4)
    away = world_to_cam.clone()
    away[:, 1:, 0, 3] = 50.0
    assert (photometric_distinctness(images, depth, intrinsics, away) == 0).all()
