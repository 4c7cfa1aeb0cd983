"""Camera rigs: a partial dome over a table, and a hand-held walk through a room."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class Camera:
    """A pinhole camera (conventions of toolbox.geometry).

    Attributes:
        intrinsics: (3, 3); pixel centres are integers.
        world_to_cam: (4, 4), rigid; OpenCV axes.
        size: (height, width).
    """

    intrinsics: Float64[np.ndarray, "3 3"]
    world_to_cam: Float64[np.ndarray, "4 4"]
    size: tuple[int, int]

    @property
    def centre(self) -> Float64[np.ndarray, " 3"]:
        """Position in the world."""
        return -self.world_to_cam[:3, :3].T @ self.world_to_cam[:3, 3]


def look_at(centre: np.ndarray, target: np.ndarray, roll: float = 0.0) -> Float64[np.ndarray, "4 4"]:
    """world_to_cam of a camera at ``centre`` that looks at ``target``, world z up, turned by ``roll`` radians."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
    world_to_cam = np.eye(4)
    world_to_cam[:3, :3] = rotation
    world_to_cam[:3, 3] = -rotation @ centre
    return world_to_cam


def random_intrinsics(rng: np.random.Generator, size: tuple[int, int], focal: float) -> Float64[np.ndarray, "3 3"]:
    """Intrinsics with slightly unequal focal lengths and the principal point off the centre.

    Args:
        focal: focal length over the longer of the width and 4/3 of the height.
    """
    height, width = size
    fx = focal * max(width, height * 4 / 3) * rng.uniform(0.995, 1.005)
    fy = fx * rng.choice([0.993, 1.007])
    cx = (width - 1) / 2 + width * rng.choice([-1, 1]) * rng.uniform(0.008, 0.02)
    cy = (height - 1) / 2 + height * rng.choice([-1, 1]) * rng.uniform(0.008, 0.02)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _dome_angles(views: int) -> list[tuple[float, float]]:
    """(azimuth, elevation) in degrees in serpentine order: neighbours in a row and rows are about 9 degrees apart."""
    rows = max(1, min(6, round(np.sqrt(views / 2))))
    counts = [len(part) for part in np.array_split(np.arange(views), rows)]
    angles = []
    for row, count in enumerate(counts):
        elevation = 42 + 8.5 * (row - (rows - 1) / 2)
        step = min(9.0, 130 / max(count - 1, 1)) / np.cos(np.radians(elevation))
        azimuths = step * (np.arange(count) - (count - 1) / 2)
        angles += [(azimuth, elevation) for azimuth in (azimuths if row % 2 == 0 else azimuths[::-1])]
    return angles


def dome_rig(rng: np.random.Generator, views: int, size: tuple[int, int]) -> list[Camera]:
    """Cameras on a partial dome, 668 to 676 mm from a point above the table, all looking at it.

    The distance keeps everything within 245 mm of the z axis between the table (z = 0) and 200 mm above it inside
    DTU's depth range, 425 to 935 mm.
    """
    intrinsics = random_intrinsics(rng, size, focal=2892.33 / 1600)
    heading = rng.uniform(0, 360)
    target = np.array([0.0, 0.0, 60.0])
    cameras = []
    for azimuth, elevation in _dome_angles(views):
        azimuth = np.radians(azimuth + heading + rng.normal(0, 0.4))
        elevation = np.radians(elevation + rng.normal(0, 0.4))
        flat = np.cos(elevation)
        back = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
        centre = target + rng.uniform(668, 676) * back
        aim = target + rng.uniform(-6, 6, 3) - [0, 0, 15]
        cameras.append(Camera(intrinsics, look_at(centre, aim, rng.normal(0, 0.015)), size))
    return cameras


class _Sway:
    """A smooth random function of the frame number: zero mean, about unit deviation."""

    def __init__(self, rng: np.random.Generator, period: float):
        self._rates = 2 * np.pi / (period * rng.uniform(0.7, 1.5, 4))
        self._phases = rng.uniform(0, 2 * np.pi, 4)

    def __call__(self, frame: int) -> float:
        return float(np.sin(self._rates * frame + self._phases).sum() / np.sqrt(2))


def handheld_rig(
    rng: np.random.Generator, views: int, size: tuple[int, int], extent: tuple[float, float, float], margin: float
) -> list[Camera]:
    """A hand-held walk around the middle of a room, looking across it; metres.

    About 3.6 degrees and 5 cm from view to view: 100 views go around once, more of them go around again elsewhere.

    Args:
        extent: length, width and height of the room, a corner at the origin.
        margin: the distance kept from the walls.
    """
    intrinsics = random_intrinsics(rng, size, focal=0.9)
    reach = np.maximum(np.array(extent[:2]) / 2 - margin, 0.3)
    names = ("radius", "height", "heading", "pitch")
    slow = {name: _Sway(rng, 45.0) for name in names}
    quick = [_Sway(rng, 7.0) for _ in range(6)]
    start, turn = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    cameras = []
    for frame in range(views):
        angle = start + turn * 2 * np.pi * frame / 100
        around = np.array([np.cos(angle), np.sin(angle)])
        flat = np.array(extent[:2]) / 2 + np.clip(0.85 + 0.1 * slow["radius"](frame), 0.6, 1.0) * reach * around
        height = 1.5 + 0.08 * slow["height"](frame)
        shake = 0.004 * np.array([quick[k](frame) for k in range(3)])
        centre = np.array([*flat, height]) + shake
        heading = angle + np.pi + 0.25 * slow["heading"](frame) + 0.006 * quick[3](frame)
        pitch = np.radians(-17 + 6 * slow["pitch"](frame)) + 0.006 * quick[4](frame)
        forward = np.array([np.cos(heading) * np.cos(pitch), np.sin(heading) * np.cos(pitch), np.sin(pitch)])
        cameras.append(Camera(intrinsics, look_at(centre, centre + forward, 0.02 * quick[5](frame)), size))
    return cameras
