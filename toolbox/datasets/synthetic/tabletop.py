"""Objects on a table, in millimetres: the table's top is z = 0."""

import numpy as np

from . import shapes
from .materials import MaterialMaker
from .model import Body, Lighting, SceneModel
from .noise import SolidNoise
from .objects import KINDS, make_object, place

TABLE_RADIUS = 243.0
"""Everything lies within this distance of the z axis."""
MAX_HEIGHT = 195.0
"""Nothing is higher above the table."""

OBJECTS_RADIUS = 180.0
_LIGHTS = 10


def triangle_edge(focal: float) -> float:
    """About the size of a pixel on the table, 2.2 to 6 mm, for a focal length in pixels."""
    return min(max(672.0 / focal, 2.2), 6.0)


def build_tabletop(rng: np.random.Generator, lightings: int = 7, edge: float = 2.2) -> SceneModel:
    """A random tabletop.

    Args:
        rng: decides everything.
        lightings: how many ways to light it; the middle one is diffuse (number 3 of 7, as in DTU).
        edge: length of a triangle's side in mm.
    """
    maker = MaterialMaker(rng, 100.0)
    bodies = _table(maker, 2.5 * edge)
    kinds = rng.permutation(len(KINDS))
    taken: list[tuple[np.ndarray, float]] = []
    for number in range(rng.integers(7, 12)):
        size = rng.uniform(100, 150) if number == 0 else rng.uniform(45, 115)
        radius = 0.5 * 1.25 * size
        spot = _free_spot(rng, taken, radius)
        if spot is not None:
            taken.append((spot, radius))
            parts = make_object(maker, int(kinds[number % len(kinds)]), size, edge)
            # A little into the table, so that no light shines below.
            bodies += place(parts, rng.uniform(0, 2 * np.pi), np.array([*spot, -0.3]))
    lights = _lamp_positions(rng)
    return SceneModel(bodies, lights, 900.0, 0.0, _lightings(rng, lights, lightings), 70.0, _Backdrop(rng))


def _table(maker: MaterialMaker, edge: float) -> list[Body]:
    top = maker.any_of(
        maker.wood, maker.cloth, maker.granite, maker.printed, maker.marble, maker.bricks, maker.clay, maker.patchwork
    )
    thickness = 18.0
    if maker.rng.random() < 0.5:
        shape = shapes.cylinder(TABLE_RADIUS, thickness, edge)
    else:
        # A rectangle with its corners on the circle.
        angle = maker.rng.uniform(0.66, 0.9)
        shape = shapes.box([2 * TABLE_RADIUS * np.cos(angle), 2 * TABLE_RADIUS * np.sin(angle), thickness], edge)
    return place([(shape, top)], maker.rng.uniform(0, 2 * np.pi), np.array([0, 0, -thickness]))


def _free_spot(rng: np.random.Generator, taken: list[tuple[np.ndarray, float]], radius: float) -> np.ndarray | None:
    """A place (x, y) for a circle among others, the nearer to the middle the likelier; None if none was found."""
    for _ in range(40):
        distance, angle = (OBJECTS_RADIUS - radius) * rng.random() ** 0.7, rng.uniform(0, 2 * np.pi)
        if not taken:
            distance *= 0.4
        spot = distance * np.array([np.cos(angle), np.sin(angle)])
        if all(np.linalg.norm(spot - other) > 0.9 * (radius + size) for other, size in taken):
            return spot
    return None


def _lamp_positions(rng: np.random.Generator) -> np.ndarray:
    """Lamps on a dome: a ring at 40 degrees, a few above."""
    ring = _LIGHTS - 3
    azimuth = np.concatenate([np.arange(ring) / ring, np.arange(3) / 3]) * 2 * np.pi + rng.uniform(0, 2 * np.pi)
    elevation = np.radians(np.concatenate([np.full(ring, 40), np.full(3, 68)]) + rng.uniform(-4, 4, _LIGHTS))
    flat = np.cos(elevation)
    return 900 * np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)


def _lightings(rng: np.random.Generator, lamps: np.ndarray, count: int) -> list[Lighting]:
    """Some lamps on each; every lighting gives a level surface in the middle the same light."""
    result = []
    keys = rng.permutation(len(lamps))
    for index in range(count):
        if index == count // 2:
            switched, ambient = np.full(len(lamps), 1.0), 0.45
        else:
            # A pair of neighbours, and a dim lamp somewhere else.
            switched = np.zeros(len(lamps))
            nearest = np.argsort(np.linalg.norm(lamps - lamps[keys[index]], axis=1))
            switched[nearest[:2]] = [1.0, rng.uniform(0.2, 0.8)]
            switched[rng.integers(len(lamps))] += rng.uniform(0.0, 0.3)
            ambient = rng.uniform(0.1, 0.3)
        level = (switched * lamps[:, 2] / np.linalg.norm(lamps, axis=1)).sum()
        tint = np.exp(rng.uniform(-0.08, 0.08)) ** np.array([1, 0, -1])
        weights = (1 - ambient) * 1.1 * switched[:, None] / level * tint
        result.append(Lighting(weights, 1.1 * ambient * tint[::-1]))
    return result


class _Backdrop:
    """A dim, blurred wall: radiance by direction."""

    def __init__(self, rng: np.random.Generator):
        self._noise = SolidNoise(rng, channels=1, cells=16)
        self._base = (rng.uniform(0.02, 0.25) * rng.uniform(0.8, 1.2, 3)).astype(np.float32)
        self._contrast = rng.uniform(0.05, 0.35)

    def __call__(self, directions: np.ndarray) -> np.ndarray:
        """Linear RGB for (3, n) unit directions."""
        noise = self._noise.fractal(directions, 0.35, np.full(directions.shape[1], 0.02, np.float32), 0.6)[0]
        shade = np.clip(1 + self._contrast * noise, 0.2, 2.5) * (1 + 0.5 * directions[2])
        return (self._base[:, None] * shade).astype(np.float32)
