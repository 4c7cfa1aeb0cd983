"""Random objects that stand on a table: each a few shapes with their materials, standing on z = 0.

``size`` is the object's height or width, about, in the scene's unit; ``edge`` the length of a triangle's side.
"""

from collections.abc import Callable

import numpy as np

from . import shapes
from .materials import MaterialMaker
from .model import Body, Material, Shape

Part = tuple[Shape, Material]


def _seated(shape: Shape) -> Shape:
    """Centred, standing on z = 0 with its lowest bumps below: lumps need a base."""
    x, y, z = shape.vertices.T
    base = [(x.min() + x.max()) / 2, (y.min() + y.max()) / 2, min(np.quantile(z, 0.08), z.min() + 0.06 * np.ptp(z))]
    return Shape(shape.vertices - base, shape.triangles)


def _dented(maker: MaterialMaker, shape: Shape, size: float, edge: float, strength: tuple[float, float]) -> Shape:
    amplitude = size * maker.rng.uniform(*strength)
    return _seated(shapes.displace(shape, maker.noise, amplitude, size * maker.rng.uniform(0.3, 0.6), 2 * edge))


def rock(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A lump with bumps of all sizes."""
    extent = size * maker.rng.uniform(0.7, 1.1, 3)
    shape = shapes.superquadric(extent, *maker.rng.uniform(0.6, 1.2, 2), edge)
    return [(_dented(maker, shape, size, edge, (0.05, 0.11)), maker.carved())]


def block(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A box of packaging or a brick, sometimes with rounded edges, sometimes twisted."""
    extent = size * maker.rng.uniform([0.5, 0.35, 0.6], [0.8, 0.6, 1.1])
    if maker.rng.random() < 0.6:
        return [(shapes.box(extent, edge), maker.any_of(maker.printed, maker.printed, maker.bricks, maker.wood))]
    shape = shapes.superquadric(extent, 0.2, 0.2, edge)
    shape = shapes.twist(shape, maker.rng.uniform(-0.8, 0.8))
    return [(_dented(maker, shape, size, edge, (0.005, 0.03)), maker.carved())]


def books(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A pile of books, each turned a little."""
    parts, height = [], 0.0
    for _ in range(maker.rng.integers(2, 6)):
        extent = size * maker.rng.uniform([0.7, 0.5, 0.08], [1.0, 0.75, 0.2])
        angle = maker.rng.normal(0, 0.2)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        cover = maker.any_of(maker.printed, maker.printed, maker.cloth, maker.plain)
        parts.append((shapes.box(extent, edge).moved(turn, [0, 0, height]), cover))
        height += extent[2]
    return parts


def can(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A tin with a printed label, or a roll of cloth."""
    radius = float(size * maker.rng.uniform(0.28, 0.4))
    shape = shapes.cylinder(radius, size * maker.rng.uniform(0.7, 1.1), edge)
    label = maker.printed(radius) if maker.rng.random() < 0.7 else maker.cloth(radius)
    return [(shape, label)]


def vessel(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A vase, bowl or cup: open, with an inner side."""
    heights = np.linspace(0, size * maker.rng.uniform(0.7, 1.1), 24)
    knots = maker.rng.uniform(0.18, 0.48, 5) * size
    profile = np.interp(heights, np.linspace(0, heights[-1], 5), knots)
    profile = np.convolve(np.pad(profile, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    wall = 0.04 * size
    inner = np.maximum(profile[2:] - wall, 0.3 * wall)[::-1]
    outline = [(1e-3 * size, 0.0), *zip(profile, heights, strict=True), *zip(inner, heights[2:][::-1], strict=True)]
    outline.append((1e-3 * size, heights[2]))
    shape = shapes.lathe(outline, edge)
    if maker.rng.random() < 0.4:
        shape = _dented(maker, shape, size, edge, (0.01, 0.03))
    return [(shape, maker.any_of(maker.clay, maker.patchwork, maker.marble, maker.plain, maker.granite))]


def ring(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A ring lying on the table or standing upright."""
    tube = size * maker.rng.uniform(0.1, 0.17)
    shape = shapes.torus(0.5 * size - tube, tube, edge, maker.rng.uniform(0, 0.3), int(maker.rng.integers(3, 9)))
    if maker.rng.random() < 0.5:
        shape = Shape(shape.vertices[:, [0, 2, 1]], shape.triangles[:, ::-1])
    return [(_dented(maker, shape, size, edge, (0.005, 0.04)), maker.carved())]


def figure(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A figurine: bumpy lumps on top of each other, tapering upwards."""
    parts, height, width = [], 0.0, 0.6 * size
    skin = maker.carved()
    for _ in range(maker.rng.integers(2, 5)):
        extent = width * maker.rng.uniform([0.8, 0.8, 0.6], [1.1, 1.1, 0.9])
        shape = shapes.superquadric(extent, *maker.rng.uniform(0.5, 1.3, 2), edge)
        shape = _dented(maker, shape, width, edge, (0.03, 0.07))
        shift = [*maker.rng.uniform(-0.06, 0.06, 2) * size, height]
        parts.append((shape.moved(np.eye(3), shift), skin if maker.rng.random() < 0.5 else maker.carved()))
        height += 0.82 * extent[2]
        width *= maker.rng.uniform(0.65, 0.9)
    return parts


def fruit(maker: MaterialMaker, size: float, edge: float) -> list[Part]:
    """A handful of round things."""
    parts = []
    skin = maker.any_of(maker.clay, maker.patchwork, maker.granite)
    for angle in np.arange(3) * 2.1 + maker.rng.uniform(0, 6):
        width = size * maker.rng.uniform(0.4, 0.5)
        shape = shapes.superquadric(width * maker.rng.uniform(0.85, 1.0, 3), 1.0, 1.0, edge)
        shape = _dented(maker, shape, width, edge, (0.01, 0.04))
        parts.append((shape.moved(np.eye(3), [0.29 * size * np.cos(angle), 0.29 * size * np.sin(angle), 0]), skin))
    return parts


KINDS: tuple[Callable[[MaterialMaker, float, float], list[Part]], ...] = (
    rock,
    block,
    books,
    can,
    vessel,
    ring,
    figure,
    fruit,
)


def make_object(maker: MaterialMaker, kind: int, size: float, edge: float) -> list[Part]:
    """A random object of the kind of that number, kept within a cylinder of diameter and height ``size`` * 1.25."""
    parts = KINDS[kind % len(KINDS)](maker, size, edge)
    points = np.concatenate([shape.vertices for shape, _ in parts])
    reach = max(2 * np.hypot(points[:, 0], points[:, 1]).max(), points[:, 2].max())
    shrink = min(1.0, 1.25 * size / reach)
    return [(Shape(shape.vertices * shrink, shape.triangles), material) for shape, material in parts]


def place(parts: list[Part], angle: float, position: np.ndarray) -> list[Body]:
    """Bodies of an object turned about z and set down at a position; their patterns move along."""
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    return [Body(shape.moved(turn, position), material, turn, np.asarray(position)) for shape, material in parts]
