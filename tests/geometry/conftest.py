"""Cameras without any symmetry, and a textured plane whose image and depth are known in closed form."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from toolbox.geometry import invert_rigid, pixel_grid


def rotation(axis_angle: tuple[float, float, float]) -> Tensor:
    """Rotation matrix of an axis times an angle (radians), float64."""
    x, y, z = axis_angle
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


@dataclass(frozen=True)
class Camera:
    """Image size (height, width), intrinsics (1, 3, 3) and world_to_cam (1, 4, 4), float64."""

    size: tuple[int, int]
    intrinsics: Tensor
    world_to_cam: Tensor


def make_camera(size, focal, centre, axis_angle, translation) -> Camera:
    intrinsics = torch.tensor([[[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]]], dtype=torch.float64)
    world_to_cam = torch.eye(4, dtype=torch.float64)[None]
    world_to_cam[0, :3, :3] = rotation(axis_angle)
    world_to_cam[0, :3, 3] = torch.tensor(translation, dtype=torch.float64)
    return Camera(size, intrinsics, world_to_cam)


class TexturedPlane:
    """The plane n . X = offset of the world, painted with slow waves of X."""

    normal = torch.tensor([0.2, -0.3, 1.0], dtype=torch.float64)
    offset = 3.0

    def render(self, camera: Camera) -> tuple[Tensor, Tensor]:
        """(1, 1, h, w) image and (1, 1, h, w) exact depth."""
        cam_to_world = invert_rigid(camera.world_to_cam)[0]
        grid = pixel_grid(*camera.size, like=camera.intrinsics)
        pixels = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1)
        rays = pixels @ torch.linalg.inv(camera.intrinsics[0]).T @ cam_to_world[:3, :3].T
        depth = (self.offset - self.normal @ cam_to_world[:3, 3]) / (rays @ self.normal)
        points = rays * depth[..., None] + cam_to_world[:3, 3]
        image = 0.5 + 0.25 * torch.sin(4 * points[..., 0]) + 0.25 * torch.sin(5 * points[..., 1] + 1)
        return image[None, None], depth[None, None]


@pytest.fixture
def reference() -> Camera:
    return make_camera((40, 56), (71.0, 67.0), (26.2, 21.7), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


@pytest.fixture
def source() -> Camera:
    return make_camera((44, 60), (80.0, 77.0), (31.4, 20.3), (0.03, -0.08, 0.05), (0.31, -0.12, 0.07))


@pytest.fixture
def plane() -> TexturedPlane:
    return TexturedPlane()
