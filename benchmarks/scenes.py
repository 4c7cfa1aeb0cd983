"""Input made from a seed: balls on a table (mm) and balls in a room (m), depth exact, colours smooth."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PosedViews:
    """What cameras see.

    Attributes:
        images: RGB uint8 (v, h, w, 3).
        depths: z-depth (v, h, w), float32.
        intrinsics: (v, 3, 3), float64.
        world_to_cam: (v, 4, 4), float64, OpenCV axes.
    """

    images: np.ndarray
    depths: np.ndarray
    intrinsics: np.ndarray
    world_to_cam: np.ndarray

    def nearest(self, number: int) -> dict[int, list[int]]:
        """For each view the views nearest to it, by their cameras' distance."""
        centres = -np.einsum("vji,vj->vi", self.world_to_cam[:, :3, :3], self.world_to_cam[:, :3, 3])
        order = np.linalg.norm(centres[:, None] - centres, axis=2).argsort(axis=1, kind="stable")
        return {i: [int(j) for j in row if j != i][:number] for i, row in enumerate(order)}


def look_at(centre: np.ndarray, target: np.ndarray) -> np.ndarray:
    """world_to_cam of a camera at ``centre`` that looks at ``target``; the world's z points up."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(forward, right), forward))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ centre
    return matrix


def _intrinsics(size: tuple[int, int], focal: float) -> np.ndarray:
    height, width = size
    return np.array([[focal * width, 0, 0.49 * width], [0, 1.02 * focal * width, 0.515 * height], [0, 0, 1]])


def _nearest_ball(origin: np.ndarray, rays: np.ndarray, balls: np.ndarray) -> np.ndarray:
    """Parameter of the first hit of each ray; infinite where there is none. Balls: (x, y, z, radius)."""
    nearest = np.full(rays.shape[:-1], np.inf)
    square = (rays * rays).sum(-1)
    for x, y, z, radius in balls:
        offset = origin - (x, y, z)
        half = rays @ offset
        root = half * half - square * (offset @ offset - radius * radius)
        hit = (-half - np.sqrt(np.maximum(root, 0))) / square
        nearest = np.where((root > 0) & (hit > 0) & (hit < nearest), hit, nearest)
    return nearest


def _look(size, intrinsics, pose, balls, background, waves, scale) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    pixels = np.stack((x, y, np.ones_like(x)), axis=-1) @ np.linalg.inv(intrinsics).T
    rays = pixels @ pose[:3, :3]  # of unit z-depth
    centre = -pose[:3, :3].T @ pose[:3, 3]
    depth = np.minimum(_nearest_ball(centre, rays, balls), background(centre, rays))
    phases = (centre + depth[..., None] * rays) @ waves * scale
    colour = 0.5 + 0.2 * np.sin(phases[..., :3]) + 0.2 * np.sin(phases[..., 3:] * 3.1)
    return (colour * 255).astype(np.uint8), depth.astype(np.float32)


def table_views(views: int, height: int, width: int, seed: int = 1) -> PosedViews:
    """Balls on a large table, seen from a dome of 650 mm; depths from 400 to 1000 mm."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(20, 60, 12)
    balls = np.column_stack((rng.uniform(-130, 130, (12, 2)), 0.8 * radius, radius))

    def table(centre: np.ndarray, rays: np.ndarray) -> np.ndarray:
        return centre[2] / np.maximum(-rays[..., 2], 1e-6)

    turn = np.arange(views) / max(views, 12) * 1.9
    height_angle = 0.85 + 0.12 * np.sin(np.arange(views) * 2.4)
    centres = 650 * np.stack(
        (np.cos(turn) * np.cos(height_angle), np.sin(turn) * np.cos(height_angle), np.sin(height_angle)), axis=1
    )
    return _posed(centres, np.zeros((views, 3)), (height, width), 1.4, balls, table, rng, 0.03)


def room_views(views: int, height: int, width: int, seed: int = 1) -> PosedViews:
    """Balls in a closed room of 5 x 4 x 2.6 m with the floor at 0, seen on a walk; depths up to 5 m."""
    rng = np.random.default_rng(seed)
    extent = np.array([5.0, 4.0, 2.6])
    radius = rng.uniform(0.15, 0.4, 10)
    balls = np.column_stack((rng.uniform(0.3, 4.7, 10), rng.uniform(2.4, 3.7, 10), radius, radius))

    def walls(centre: np.ndarray, rays: np.ndarray) -> np.ndarray:
        to_wall = np.where(rays > 0, extent - centre, -centre) / np.where(np.abs(rays) < 1e-9, 1e-9, rays)
        return to_wall.min(axis=-1)

    step = np.linspace(0, 1, views) if views > 1 else np.zeros(1)
    centres = np.stack((1 + 3 * step, 0.9 + 0.2 * np.sin(9 * step), 1.4 + 0.1 * np.sin(7 * step)), axis=1)
    targets = centres + np.stack((np.sin(5 * step) * 0.7, np.ones(views), np.full(views, -0.35)), axis=1)
    return _posed(centres, targets, (height, width), 0.9, balls, walls, rng, 6.0)


def _posed(centres, targets, size, focal, balls, background, rng, scale) -> PosedViews:
    intrinsics, waves = _intrinsics(size, focal), rng.normal(size=(3, 6))
    poses = [look_at(centre, target) for centre, target in zip(centres, targets, strict=True)]
    seen = [_look(size, intrinsics, pose, balls, background, waves, scale) for pose in poses]
    images, depths = (np.stack(arrays) for arrays in zip(*seen, strict=True))
    return PosedViews(images, depths, np.repeat(intrinsics[None], len(poses), axis=0), np.stack(poses))
