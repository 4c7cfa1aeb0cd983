"""Furniture in metres: each piece stands on z = 0 with its back on the plane y = 0, centred in x, facing +y."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from . import shapes
from .materials import MaterialMaker
from .model import Material, Shape, Vector, merge
from .objects import KINDS, Part, make_object

EDGE = 0.045
_SMALL_EDGE = 0.014


class Workshop:
    """Makes furniture at random.

    Args:
        rng: decides everything.
    """

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.large, self.small = MaterialMaker(rng, 0.5), MaterialMaker(rng, 0.16)

    def uniform(self, low: float | int, high: float | int) -> float:
        """A random number."""
        return float(self.rng.uniform(low, high))

    def frame(self) -> Material:
        """What furniture is built of."""
        return self.large.any_of(self.large.wood, self.large.wood, self.large.plain)

    def clutter(self, low: Vector, high: Vector, z: float, count: int, size: tuple[float, float]) -> list[Part]:
        """Objects standing at height z in the rectangle between two corners, apart from each other."""
        parts: list[Part] = []
        taken: list[tuple[np.ndarray, float]] = []
        for _ in range(count):
            extent = self.uniform(*size)
            radius = 0.6 * extent
            room = np.asarray(high) - low - 2 * radius
            if (room <= 0).any():
                continue
            spot = np.asarray(low) + radius + room * self.rng.random(2)
            if all(np.linalg.norm(spot - other) > radius + reach for other, reach in taken):
                taken.append((spot, radius))
                thing = make_object(self.small, int(self.rng.integers(len(KINDS))), extent, _SMALL_EDGE)
                parts += shifted(thing, [*spot, z - 0.001])
        return parts

    def bookcase(self, width: float) -> list[Part]:
        """Shelves with books and things."""
        depth, height, panel = self.uniform(0.28, 0.38), self.uniform(1.5, 2.0), 0.025
        levels = np.linspace(0.06, height - panel, int(self.rng.integers(5, 7)))
        carcass = [
            slab([panel, depth, height], [-(width - panel) / 2, depth / 2, 0]),
            slab([panel, depth, height], [(width - panel) / 2, depth / 2, 0]),
            slab([width, 0.01, height], [0, 0.005, 0]),
        ]
        carcass += [slab([width - 2 * panel, depth, panel], [0, depth / 2, z]) for z in levels]
        parts = [(merge(carcass), self.frame())]
        covers = [self.small.any_of(self.small.printed, self.small.cloth, self.small.plain) for _ in range(5)]
        spines: list[list[Shape]] = [[] for _ in covers]
        for low, high in pairwise(levels):
            x, end = -width / 2 + panel + 0.01, width / 2 - panel - 0.01
            if self.rng.random() < 0.25:
                parts += self.clutter([x, 0.05], [end, depth - 0.02], low + panel, 4, (0.1, 0.2))
                continue
            end -= self.uniform(0.0, 0.35) * width
            while x < end:
                thick, tall = self.uniform(0.018, 0.06), (high - low - panel) * self.uniform(0.6, 0.93)
                deep = self.uniform(0.55, 0.8) * depth
                book = slab([thick, deep, tall], [x + thick / 2, 0.03 + deep / 2, low + panel])
                spines[int(self.rng.integers(len(covers)))].append(book)
                x += thick + (0.0 if self.rng.random() < 0.85 else self.uniform(0.01, 0.1))
        return parts + [(merge(books), cover) for books, cover in zip(spines, covers, strict=True) if books]

    def cabinet(self, width: float) -> list[Part]:
        """A chest of drawers with things on it."""
        depth, height = self.uniform(0.4, 0.5), self.uniform(0.7, 1.15)
        rows, columns = int(self.rng.integers(2, 5)), 1 if width < 0.8 else 2
        fronts, knobs = [], []
        for row in range(rows):
            for column in range(columns):
                tall, wide = (height - 0.08) / rows, (width - 0.02) / columns
                x, z = -width / 2 + 0.01 + (column + 0.5) * wide, 0.06 + row * tall
                fronts.append(slab([wide - 0.015, 0.02, tall - 0.015], [x, depth + 0.01, z]))
                knob = shapes.superquadric([0.035, 0.035, 0.035], 1.0, 1.0, 0.012)
                knobs.append(knob.moved(np.eye(3), [x, depth + 0.035, z + tall / 2]))
        body = [
            slab([width, depth, height - 0.03], [0, depth / 2, 0]),
            slab([width + 0.03, depth + 0.03, 0.03], [0, depth / 2 + 0.015, height - 0.03]),
        ]
        parts = [(merge(body), self.frame()), (merge(fronts), self.frame()), (merge(knobs), self.small.plain())]
        return parts + self.clutter([-width / 2, 0.02], [width / 2, depth], height, 5, (0.12, 0.32))

    def desk(self, width: float) -> list[Part]:
        """A desk with a screen, a keyboard and things, and a chair."""
        depth, height = self.uniform(0.6, 0.75), self.uniform(0.7, 0.76)
        parts = self._table(width, depth, height)
        screen = self.uniform(0.45, 0.65)
        case = [
            slab([screen, 0.03, 0.6 * screen], [0, 0.2, height + 0.1]),
            slab([0.05, 0.03, 0.12], [0, 0.17, height]),
            slab([0.22, 0.16, 0.012], [0, 0.18, height]),
        ]
        picture = slab([screen - 0.03, 0.004, 0.6 * screen - 0.03], [0, 0.217, height + 0.115])
        shown = self.small.printed()
        parts += [(merge(case), self.small.plain()), (picture, Material(shown.pattern, 0.05, 60.0, 0.35))]
        parts.append((slab([0.42, 0.14, 0.018], [0, depth - 0.2, height]), self.small.bricks()))
        for side in (-1, 1):
            low, high = sorted((side * width / 2, side * 0.36))
            parts += self.clutter([low, 0.02], [high, depth], height, 4, (0.1, 0.25))
        return parts + turned(self.chair(), np.pi + self.uniform(-0.4, 0.4), [self.uniform(-0.1, 0.1), depth + 0.45, 0])

    def chair(self) -> list[Part]:
        """A chair with a back; its middle is the origin, it faces +y."""
        seat, side, top = 0.45, self.uniform(0.4, 0.46), self.uniform(0.82, 0.98)
        half, leg = side / 2 - 0.02, 0.035
        frame = [slab([leg, leg, seat], [x, y, 0]) for x in (-half, half) for y in (-half, half)]
        frame += [slab([leg, leg, top - seat], [x, -half, seat]) for x in (-half, half)]
        cushion = shapes.superquadric([side, side, 0.06], 0.3, 0.3, 0.03).moved(np.eye(3), [0, 0, seat - 0.01])
        back = slab([side - 0.03, 0.025, self.uniform(0.12, 0.3)], [0, -half, top - 0.3])
        cover = self.large.any_of(self.small.cloth, self.large.wood, self.small.clay)
        return [(merge(frame), self.frame()), (merge([cushion, back]), cover)]

    def sofa(self, width: float) -> list[Part]:
        """A sofa with cushions."""
        depth, arm = 0.85, 0.2

        def pillow(size: Vector, at: Vector) -> Shape:
            soft = shapes.superquadric(size, 0.35, 0.35, 0.035)
            return shapes.displace(soft, self.large.noise, 0.006, 0.15, 0.08).moved(np.eye(3), at)

        frame = [pillow([width, depth - 0.1, 0.36], [0, depth / 2, 0.02]), pillow([width, 0.26, 0.82], [0, 0.14, 0.02])]
        frame += [pillow([arm, depth, 0.6], [side * (width - arm) / 2, depth / 2 + 0.02, 0.02]) for side in (-1, 1)]
        count = 2 if width < 1.8 else 3
        wide = (width - 2 * arm) / count
        middles = -width / 2 + arm + (np.arange(count) + 0.5) * wide
        seats = [pillow([wide - 0.01, 0.62, 0.17], [x, 0.5, 0.34]) for x in middles]
        seats += [pillow([wide - 0.02, 0.2, 0.42], [x, 0.3, 0.47]) for x in middles]
        cover, seat = self.large.any_of(self.small.cloth, self.large.cloth, self.large.clay), self.large.cloth()
        parts = [(merge(frame), cover), (merge(seats), cover if self.rng.random() < 0.6 else seat)]
        loose = pillow([0.42, 0.14, 0.4], [self.uniform(-0.3, 0.3) * width, 0.46, 0.5])
        return [*parts, (loose, self.small.any_of(self.small.cloth, self.small.patchwork, self.small.bricks))]

    def bed(self, width: float) -> list[Part]:
        """A bed along the wall."""
        depth = 0.9
        mattress = shapes.superquadric([width, depth, 0.28], 0.15, 0.15, EDGE).moved(np.eye(3), [0, depth / 2, 0.22])
        cover = shapes.superquadric([0.68 * width, depth + 0.04, 0.14], 0.25, 0.2, 0.035)
        cover = shapes.displace(cover, self.large.noise, 0.014, 0.25, 0.08)
        pillow = shapes.superquadric([0.4, 0.62, 0.15], 0.5, 0.4, 0.03)
        pillow = shapes.displace(pillow, self.large.noise, 0.008, 0.15, 0.07)
        frame = [slab([width + 0.06, depth + 0.02, 0.25], [0, depth / 2, 0.05])]
        frame += [
            slab([0.05, depth + 0.04, tall], [side * (width / 2 + 0.05), depth / 2, 0])
            for side, tall in ((-1, 0.95), (1, 0.6))
        ]
        return [
            (merge(frame), self.frame()),
            (mattress, self.large.plain()),
            (
                cover.moved(np.eye(3), [0.14 * width, depth / 2, 0.41]),
                self.large.any_of(self.large.cloth, self.large.patchwork),
            ),
            (
                pillow.moved(np.eye(3), [-0.36 * width, depth / 2, 0.48]),
                self.small.any_of(self.small.cloth, self.small.clay),
            ),
        ]

    def boxes(self, width: float) -> list[Part]:
        """Piled parcels."""
        parts, z = [], 0.0
        for _ in range(int(self.rng.integers(1, 4))):
            size = np.array([width * self.uniform(0.55, 0.95), self.uniform(0.3, 0.45), self.uniform(0.2, 0.4)])
            cover = self.large.any_of(self.large.printed, self.large.printed, self.large.clay)
            parts += turned([(shapes.box(size, EDGE), cover)], self.uniform(-0.12, 0.12), [0, 0.32, z])
            z += size[2]
        return parts

    def plant(self, width: float) -> list[Part]:
        """A plant in a pot."""
        pot = shapes.lathe([(0.001, 0), (0.11, 0), (0.16, 0.28), (0.14, 0.28), (0.13, 0.22), (0.001, 0.22)], 0.02)
        leaves = []
        for _ in range(int(self.rng.integers(9, 16))):
            length, lean, heading = self.uniform(0.35, 0.8), self.uniform(0.1, 0.9), self.uniform(0, 2 * np.pi)
            leaves.append(_leaf(length, 0.08 * self.uniform(0.8, 1.6), lean, heading))
        green = np.array([0.08, self.uniform(0.2, 0.35), 0.05])
        foliage = self.small.clay(green)
        at = [0, 0.3, 0]
        return shifted([(pot, self.small.any_of(self.small.clay, self.small.plain)), (merge(leaves), foliage)], at)

    def lamp(self, width: float) -> list[Part]:
        """A standing lamp."""
        height = self.uniform(1.4, 1.7)
        pole = shapes.lathe([(0.14, 0), (0.14, 0.02), (0.015, 0.04), (0.015, height)], 0.02)
        shade = shapes.lathe(
            [(0.2, height - 0.25), (0.13, height + 0.05), (0.125, height + 0.05), (0.19, height - 0.25)], 0.03
        )
        glow = self.small.any_of(self.small.cloth, self.small.plain)
        bright = Material(glow.pattern, 0.0, 10.0, 0.5)
        return shifted([(pole, self.small.plain()), (shade, bright)], [0, 0.3, 0])

    def door(self, width: float) -> list[Part]:
        """A closed door in its frame."""
        wide, tall = min(width, 0.95), 2.02
        frame = [slab([0.08, 0.05, tall + 0.08], [side * (wide / 2 + 0.04), 0.025, 0]) for side in (-1, 1)]
        frame.append(slab([wide, 0.05, 0.08], [0, 0.025, tall]))
        panels = [slab([0.7 * wide, 0.012, 0.36 * tall], [0, 0.036, z * tall]) for z in (0.08, 0.54)]
        handle = shapes.superquadric([0.13, 0.03, 0.03], 0.6, 0.6, 0.012).moved(np.eye(3), [0.38 * wide, 0.06, 1.03])
        leaf, wood = slab([wide, 0.03, tall], [0, 0.015, 0]), self.frame()
        return [(merge(frame), self.frame()), (merge([leaf, *panels]), wood), (handle, self.small.plain())]

    def dining_table(self) -> list[Part]:
        """A table with chairs around it; its middle is the origin."""
        width, depth, height = self.uniform(0.8, 1.3), self.uniform(0.7, 0.85), self.uniform(0.7, 0.76)
        parts = shifted(self._table(width, depth, height), [0, -depth / 2, 0])
        low, high = np.array([-width, -depth]) / 2, np.array([width, depth]) / 2
        parts += self.clutter(low, high, height, 8, (0.1, 0.3))
        for side in (0.0, np.pi):
            for x in (-0.25, 0.25):
                if self.rng.random() < 0.7:
                    at = np.array([x * width, -(depth / 2 + self.uniform(0.05, 0.25)), 0.0])
                    parts += turned(
                        shifted(turned(self.chair(), self.uniform(-0.3, 0.3), [0, 0, 0]), at), side, [0, 0, 0]
                    )
        return parts

    def _table(self, width: float, depth: float, height: float) -> list[Part]:
        top, leg = 0.03, 0.05
        legs = [
            slab([leg, leg, height - top], [x, y, 0])
            for x in (-width / 2 + leg, width / 2 - leg)
            for y in (leg, depth - leg)
        ]
        plate = slab([width, depth, top], [0, depth / 2, height - top])
        surface = self.large.any_of(self.large.wood, self.large.wood, self.large.marble, self.large.plain)
        return [(merge(legs), self.frame()), (plate, surface)]


def slab(size: Vector, at: Vector) -> Shape:
    """A box standing at a place: the middle of its bottom."""
    return shapes.box(size, EDGE).moved(np.eye(3), at)


def _leaf(length: float, width: float, lean: float, heading: float) -> Shape:
    """A curved leaf growing from the pot's middle."""
    along, across = np.linspace(0, 1, 14)[:, None], np.linspace(-1, 1, 5)[None]
    angle = lean * (0.4 + along)
    out = length * np.sin(angle) * along
    up = 0.22 + length * np.cos(angle) * along - 0.03 * np.abs(across)
    side = width * across * np.sin(np.pi * np.clip(along, 0.02, 0.98)) ** 0.7
    x, y = np.cos(heading) * out - np.sin(heading) * side, np.sin(heading) * out + np.cos(heading) * side
    return shapes.sheet(np.stack(np.broadcast_arrays(x, y, up), axis=-1))


def shifted(parts: list[Part], by: Vector) -> list[Part]:
    """All parts moved."""
    return [(shape.moved(np.eye(3), by), material) for shape, material in parts]


def turned(parts: list[Part], angle: float, by: Vector) -> list[Part]:
    """All parts turned about z, then moved."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    return [(shape.moved(turn, by), material) for shape, material in parts]


PIECES: tuple[tuple[Callable[[Workshop, float], list[Part]], tuple[float, float], bool], ...] = (
    (Workshop.bookcase, (0.7, 1.2), False),
    (Workshop.cabinet, (0.6, 1.2), True),
    (Workshop.desk, (1.2, 1.6), True),
    (Workshop.sofa, (1.5, 2.1), True),
    (Workshop.bed, (1.9, 2.05), True),
    (Workshop.boxes, (0.4, 0.6), True),
    (Workshop.plant, (0.5, 0.6), True),
    (Workshop.lamp, (0.45, 0.5), False),
    (Workshop.door, (0.95, 1.1), False),
)
"""Every piece: how to make it, how wide it may be, and whether there is room for a picture above it."""
