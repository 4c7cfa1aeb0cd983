"""A slanted plane with a smooth texture, its images and depths computed in closed form."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from toolbox.geometry import invert_rigid, pixel_grid, scale_intrinsics
from toolbox.structures import DepthPrediction, MultiViewBatch

NORMAL, DISTANCE = torch.tensor([0.15, -0.1, 1.0]).double(), 2.5
WAVES = torch.tensor([[12.0, 3.0], [-4.0, 11.0], [7.0, -8.0]]).double()


@dataclass
class PlaneScene:
    """The plane n X = d seen by a reference and three sources."""

    size: tuple[int, int] = (48, 64)

    def __post_init__(self):
        height, width = self.size
        self.intrinsics = torch.tensor(
            [[1.6 * width, 0, width / 2 + 1.5], [0, 1.7 * width, height / 2 - 2.5], [0, 0, 1]]
        ).double()
        self.poses = torch.stack([pose(0, 0, 0), pose(0.04, -0.3, 0.05), pose(-0.05, 0.28, -0.1), pose(0.02, 0.1, 0.3)])

    def depth(self, world_to_cam: Tensor | None = None, level: int = 0) -> Tensor:
        """(H, W) of a view, by default the reference, at a half-pixel pyramid level."""
        return self._intersect(self.poses[0] if world_to_cam is None else world_to_cam, level)[0]

    def image(self, world_to_cam: Tensor, level: int = 0) -> Tensor:
        """(3, H, W) of a view."""
        return texture(self._intersect(world_to_cam, level)[1])

    def images(self, level: int = 0) -> Tensor:
        return torch.stack([self.image(p, level) for p in self.poses])[None]

    def level_intrinsics(self, level: int = 0, views: int = 4) -> Tensor:
        return scale_intrinsics(self.intrinsics, 0.5**level, 0.5**level).expand(1, views, 3, 3)

    def problem(self, levels: int = 1, scale: float = 1.0) -> tuple[DepthPrediction, MultiViewBatch]:
        """True depth times ``scale`` at every level, and the batch."""
        batch = MultiViewBatch(
            self.images(), self.level_intrinsics(), self.poses[None], torch.tensor([[1.5, 4.0]]).double()
        )
        depths = [(scale * self.depth(level=level))[None].requires_grad_() for level in range(levels)]
        intrinsics = [self.level_intrinsics(level) for level in range(levels)]
        return DepthPrediction(depths, intrinsics, torch.ones(1, *self.size)), batch

    def _intersect(self, world_to_cam: Tensor, level: int) -> tuple[Tensor, Tensor]:
        height, width = (n // 2**level for n in self.size)
        grid = pixel_grid(height, width, self.intrinsics)
        rays = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1)
        rays = rays @ torch.linalg.inv(self.level_intrinsics(level)[0, 0]).T
        cam_to_world = invert_rigid(world_to_cam)
        directions, centre = rays @ cam_to_world[:3, :3].T, cam_to_world[:3, 3]
        depth = (DISTANCE - NORMAL @ centre) / (directions @ NORMAL)
        return depth, centre + depth[..., None] * directions


def pose(yaw: float, x: float, y: float) -> Tensor:
    """World to camera of a camera at (x, y, 0), turned about its y axis."""
    matrix = torch.eye(4).double()
    matrix[0, 0] = matrix[2, 2] = math.cos(yaw)
    matrix[0, 2], matrix[2, 0] = math.sin(yaw), -math.sin(yaw)
    matrix[:3, 3] = -matrix[:3, :3] @ torch.tensor([x, y, 0.0]).double()
    return matrix


def texture(points: Tensor) -> Tensor:
    phases = points[..., :2] @ WAVES.T
    mixed = torch.stack((phases[..., 0] + 1, phases[..., 1], phases[..., 2] + 2), dim=0)
    return 0.5 + 0.22 * torch.sin(mixed) + 0.2 * torch.sin(0.6 * mixed.roll(1, dims=0))


@pytest.fixture
def plane() -> PlaneScene:
    return PlaneScene()


@pytest.fixture
def small_plane() -> PlaneScene:
    return PlaneScene((8, 10))
