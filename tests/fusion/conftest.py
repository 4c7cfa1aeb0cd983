"""A sphere before a slanted plane, seen by cameras around: exact depths, textured colours."""

from collections.abc import Callable

import numpy as np
import pytest

from toolbox.fusion import FusionView

RADIUS = 0.8
INTRINSICS = np.array([[112.0, 0.0, 46.5], [0.0, 108.0, 30.25], [0.0, 0.0, 1.0]])
SIZE = (64, 88)
PLANE_NORMAL, PLANE_OFFSET = np.array([0.1, -0.2, 1.0]), 1.9  # PLANE_NORMAL . X = PLANE_OFFSET


def look_at_origin(azimuth: float, height: float, distance: float) -> np.ndarray:
    eye = distance * np.array([np.sin(azimuth), -height, -np.cos(azimuth)])
    forward = -eye / np.linalg.norm(eye)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    world_to_cam = np.eye(4)
    world_to_cam[:3, :3] = np.stack((right, np.cross(forward, right), forward))
    world_to_cam[:3, 3] = -world_to_cam[:3, :3] @ eye
    return world_to_cam


def exact_depth(world_to_cam: np.ndarray, with_plane: bool) -> np.ndarray:
    """z-depth of the sphere at the origin, and of the plane behind it; 0 elsewhere."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(INTRINSICS).T @ world_to_cam[:3, :3]
    eye = -world_to_cam[:3, :3].T @ world_to_cam[:3, 3]
    a, b, c = (rays**2).sum(-1), rays @ eye, eye @ eye - RADIUS**2
    discriminant = b * b - a * c
    sphere = np.where(discriminant > 0, (-b - np.sqrt(np.maximum(discriminant, 0))) / a, np.inf)
    plane = (PLANE_OFFSET - PLANE_NORMAL @ eye) / (rays @ PLANE_NORMAL) if with_plane else np.full(SIZE, np.inf)
    depth = np.minimum(sphere, np.where(plane > 0, plane, np.inf))
    return np.where(np.isfinite(depth) & (depth < 6), depth, 0).astype(np.float32)


def colours(depth: np.ndarray, world_to_cam: np.ndarray) -> np.ndarray:
    """A smooth colour of the world's position."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    camera = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(INTRINSICS).T * depth[..., None]
    world = (camera - world_to_cam[:3, 3]) @ world_to_cam[:3, :3]
    return np.rint(127.5 + 100 * np.sin(3 * world)).astype(np.uint8)


def make_view(view_id: int, azimuth: float, height: float, with_plane: bool) -> FusionView:
    world_to_cam = look_at_origin(azimuth, height, 3.0)
    depth = exact_depth(world_to_cam, with_plane)
    return FusionView(
        view_id, INTRINSICS, world_to_cam, depth=lambda: depth, image=lambda: colours(depth, world_to_cam)
    )


@pytest.fixture(scope="session")
def sphere_radius() -> float:
    return RADIUS


@pytest.fixture(scope="session")
def ring() -> list[FusionView]:
    """Twenty-four views all around the sphere, at three heights."""
    return [make_view(10 + i, 2 * np.pi * i / 24, (-0.7, 0.1, 0.8)[i % 3], with_plane=False) for i in range(24)]


@pytest.fixture(scope="session")
def front() -> list[FusionView]:
    """Five views from the front, of the sphere and of the plane that it partly hides."""
    return [make_view(i, 0.12 * (i - 2), 0.05 * (i % 3), with_plane=True) for i in range(5)]


@pytest.fixture(scope="session")
def all_others() -> Callable[[list[FusionView]], dict[int, list[int]]]:
    """Every other view as a source, nearest first."""

    def sources(views: list[FusionView]) -> dict[int, list[int]]:
        centre = {v.id: -v.world_to_cam[:3, :3].T @ v.world_to_cam[:3, 3] for v in views}
        return {
            v.id: sorted((u for u in centre if u != v.id), key=lambda u: np.linalg.norm(centre[u] - centre[v.id]))
            for v in views
        }

    return sources
