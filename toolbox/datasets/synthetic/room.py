"""Furnished rooms in metres: the floor is z = 0, the corner of two walls the origin."""

from dataclasses import dataclass

import numpy as np

from . import shapes
from .furniture import EDGE, PIECES, Workshop, shifted, slab
from .model import Body, Lighting, Material, SceneModel, Shape, merge
from .objects import Part, place
from .textures import Mottled, Tiled

FURNITURE_DEPTH = 1.0
"""Nothing higher than a table stands farther from a wall."""

_CORNER = 0.95


@dataclass(frozen=True)
class Room:
    """A furnished room.

    Attributes:
        model: what can be seen.
        extent: length in x, in y, and height.
    """

    model: SceneModel
    extent: tuple[float, float, float]


def build_room(rng: np.random.Generator) -> Room:
    """A random room: furniture along the walls, pictures above it, a window, and a table or a rug in the middle."""
    workshop = Workshop(rng)
    extent = (workshop.uniform(3.9, 5.6), workshop.uniform(3.7, 4.8), workshop.uniform(2.4, 2.8))
    bodies = _shell(workshop, extent)
    middle = np.array([extent[0] / 2, extent[1] / 2, 0])
    order = [*rng.permutation(len(PIECES)), *rng.permutation(len(PIECES))]
    window_wall = int(rng.integers(4))
    for wall, (turn, length) in enumerate(_walls(extent)):
        parts = _furnish(workshop, wall, length, order, window=wall == window_wall)
        bodies += [_against_wall(part, turn, wall, extent) for part in parts]
    bodies += place(_middle(workshop), workshop.uniform(-0.3, 0.3) + np.pi / 2 * rng.integers(2), middle)
    lamps, bulbs = _ceiling_lamps(workshop, extent)
    bodies += place(lamps, 0.0, np.zeros(3))
    panes = _window_lights(extent, window_wall)
    lights = np.concatenate([bulbs, panes])
    return Room(
        SceneModel(bodies, lights, 2.0, 0.4, [_lighting(workshop, lights, len(bulbs), middle)], 0.8, _nothing), extent
    )


def _nothing(directions: np.ndarray) -> np.ndarray:
    """The room is closed: no ray leaves it."""
    return np.zeros_like(directions)


def _walls(extent: tuple[float, float, float]) -> list[tuple[float, float]]:
    """The angle that turns +y to a wall's inward normal, and the wall's length: y = 0, x = max, y = max, x = 0."""
    return [(0.0, extent[0]), (np.pi / 2, extent[1]), (np.pi, extent[0]), (-np.pi / 2, extent[1])]


def _against_wall(part: Part, angle: float, wall: int, extent: tuple[float, float, float]) -> Body:
    x, y, _ = extent
    origin = np.array([(0, 0, 0), (x, 0, 0), (x, y, 0), (0, y, 0)][wall], float)
    return place([part], angle, origin)[0]


def _furnish(workshop: Workshop, wall: int, length: float, order: list, window: bool) -> list[Part]:
    """Furniture side by side along a wall from x = 0 to its length, pictures above, a window in the middle."""
    parts: list[Part] = []
    # Two opposite walls leave the corners to the other two.
    position, end = (0.08, length - 0.08) if wall % 2 == 0 else (_CORNER, length - _CORNER)
    opening = (length / 2 - 0.65, length / 2 + 0.65) if window else None
    if opening:
        parts += shifted(_window(workshop), [length / 2, 0, 0])
    while order:
        fits = [index for index in order if PIECES[index][1][0] < end - position]
        if opening and opening[0] - 1.0 < position < opening[1]:
            fits = [index for index in fits if PIECES[index][2]]
        if not fits:
            break
        order.remove(fits[0])
        make, (low, high), low_piece = PIECES[fits[0]]
        width = workshop.uniform(low, min(high, end - position))
        middle = position + width / 2
        parts += shifted(make(workshop, width), [middle, 0, 0])
        overlaps = opening and opening[0] - 0.4 < middle < opening[1] + 0.4
        if low_piece and not overlaps:
            parts += shifted(_picture(workshop, min(0.9 * width, 1.1)), [middle, 0, 0])
        position += width + workshop.uniform(0.04, 0.3)
    return parts


def _picture(workshop: Workshop, width: float) -> list[Part]:
    """A framed picture, poster or calendar at the height of the eyes."""
    wide, tall = workshop.uniform(0.5, 1.0) * width, workshop.uniform(0.4, 0.65)
    bottom = workshop.uniform(1.35, 1.6)
    border = 0.03
    frame = [slab([wide, 0.025, border], [0, 0.0125, z]) for z in (bottom, bottom + tall - border)]
    frame += [slab([border, 0.025, tall], [side * (wide - border) / 2, 0.0125, bottom]) for side in (-1, 1)]
    canvas = slab([wide - border, 0.012, tall - border], [0, 0.006, bottom + border / 2])
    maker = workshop.large
    return [
        (merge(frame), workshop.frame()),
        (canvas, maker.any_of(maker.patchwork, maker.printed, maker.marble, workshop.small.printed)),
    ]


def _window(workshop: Workshop) -> list[Part]:
    """A bright window with its sill and curtains."""
    wide, tall, bottom, bar = 1.2, 1.15, 1.0, 0.05
    frame = [slab([wide, 0.05, bar], [0, 0.025, z]) for z in (bottom, bottom + tall - bar)]
    frame += [slab([bar, 0.05, tall], [x, 0.025, bottom]) for x in (-wide / 2, 0.0, wide / 2)]
    frame.append(slab([wide + 0.1, 0.16, 0.03], [0, 0.08, bottom - 0.03]))
    pane = slab([wide, 0.01, tall], [0, 0.005, bottom])
    sky = np.array([[0.15, 0.2, 0.1], [0.35, 0.42, 0.5], [0.6, 0.68, 0.75]])
    view = Material(Mottled(workshop.large.noise, sky, 0.4, 0.3, 0.7, 0.05), 0.1, 60.0, 0.7)
    cloth = workshop.large.any_of(workshop.small.cloth, workshop.large.cloth, workshop.large.clay)
    curtains = [_curtain(workshop, side * (wide / 2 + 0.06), bottom + tall + 0.1) for side in (-1, 1)]
    return [(merge(frame), workshop.large.plain()), (pane, view), (merge(curtains), cloth)]


def _curtain(workshop: Workshop, middle: float, top: float) -> Shape:
    """A hanging sheet in folds."""
    x, z = np.linspace(-0.17, 0.17, 40), np.linspace(0.75, top, 30)
    fold = 0.03 * np.sin(x * workshop.uniform(90, 130) + 0.6 * np.sin(3 * z[:, None]))
    points = np.stack(np.broadcast_arrays(middle + x, 0.11 + fold, z[:, None]), axis=-1)
    # Facing the room.
    return shapes.sheet(points[:, ::-1])


def _middle(workshop: Workshop) -> list[Part]:
    """What stands in the middle of the room."""
    size = [workshop.uniform(1.6, 2.4), workshop.uniform(1.2, 1.7), 0.012]
    rug = [(slab(size, [0, 0, 0]), workshop.large.any_of(workshop.large.cloth, workshop.small.bricks))]
    return rug + workshop.dining_table() if workshop.rng.random() < 0.75 else rug


def _shell(workshop: Workshop, extent: tuple[float, float, float]) -> list[Body]:
    """Floor, walls, ceiling and skirting."""
    x, y, z = extent
    floor = shapes.rectangle([0, 0, 0], [x, 0, 0], [0, y, 0], EDGE)
    ceiling = shapes.rectangle([0, 0, z], [0, y, 0], [x, 0, 0], EDGE)
    wall = [
        shapes.rectangle([0, 0, 0], [0, 0, z], [x, 0, 0], EDGE),
        shapes.rectangle([x, 0, 0], [0, 0, z], [0, y, 0], EDGE),
        shapes.rectangle([0, y, 0], [x, 0, 0], [0, 0, z], EDGE),
        shapes.rectangle([0, 0, 0], [0, y, 0], [0, 0, z], EDGE),
    ]
    skirting = [slab([x, 0.015, 0.08], [x / 2, side, 0]) for side in (0.0075, y - 0.0075)]
    skirting += [slab([0.015, y, 0.08], [side, y / 2, 0]) for side in (0.0075, x - 0.0075)]
    paint = _wall_paint(workshop)
    papered = int(workshop.rng.integers(4))
    maker = workshop.large
    feature = maker.any_of(maker.printed, maker.cloth, maker.bricks, maker.patchwork, lambda: paint)
    white = workshop.small.plain()
    ceiling_paint = Material(Mottled(maker.noise, np.array([[0.6] * 3, [0.75] * 3]), 0.6, 0.15, 0.8, 0.02), 0.0, 10.0)
    rest = merge([side for index, side in enumerate(wall) if index != papered])
    surfaces = [(floor, _flooring(workshop)), (ceiling, ceiling_paint), (rest, paint), (wall[papered], feature)]
    return place([*surfaces, (merge(skirting), white)], 0.0, np.zeros(3))


def _wall_paint(workshop: Workshop) -> Material:
    """Painted plaster: nearly plain, with stains and roughness."""
    maker = workshop.large
    colour = maker.colour((0.02, 0.35), (0.65, 0.95))
    pattern = Mottled(
        maker.noise, maker.shades(colour, 4, 0.2), 0.9, workshop.uniform(0.05, 0.2), 0.9, workshop.uniform(0.02, 0.06)
    )
    return Material(pattern, 0.01, 10.0)


def _flooring(workshop: Workshop) -> Material:
    """Boards, tiles or a carpet."""
    maker = workshop.large
    kind = workshop.rng.integers(3)
    if kind == 0:
        base = np.array([0.42, 0.24, 0.11]) * workshop.uniform(0.5, 1.5)
        colours = np.concatenate([maker.shades(base, 4, 0.45), [base * 0.15]])
        pattern = Tiled(maker.noise, colours, (1.1, 0.13), 0.004, 0.37, 0.22, 0.12, (9.0, 1.0, 1.0))
        return Material(pattern, 0.05, 30.0)
    if kind == 1:
        colours = np.concatenate([maker.shades(maker.colour((0.05, 0.5), (0.4, 0.85)), 4, 0.4), [[0.25, 0.24, 0.22]]])
        return Material(Tiled(maker.noise, colours, (0.33, 0.33), 0.006, 0.0, 0.12, 0.1), 0.06, 40.0)
    return maker.any_of(maker.clay, workshop.small.clay, workshop.small.granite)


def _ceiling_lamps(workshop: Workshop, extent: tuple[float, float, float]) -> tuple[list[Part], np.ndarray]:
    """Bowls under the ceiling, and where their light comes from."""
    x, y, z = extent
    count = int(workshop.rng.integers(2, 4))
    spots = [
        [x * (index + 0.5) / count + workshop.uniform(-0.2, 0.2), y * workshop.uniform(0.35, 0.65)]
        for index in range(count)
    ]
    bowl = shapes.lathe([(0.001, z - 0.09), (0.12, z - 0.07), (0.17, z)], 0.03)
    glow = Material(workshop.small.plain().pattern, 0.0, 10.0, 1.2)
    bowls = merge([bowl.moved(np.eye(3), [*spot, 0]) for spot in spots])
    return [(bowls, glow)], np.array([[*spot, z - 0.16] for spot in spots])


def _window_lights(extent: tuple[float, float, float], wall: int) -> np.ndarray:
    """Two points just inside the window."""
    (x, y, _), inside = extent, 0.45
    spots = []
    for along in (-0.3, 0.3):
        on_wall = [
            (x / 2 + along, inside),
            (x - inside, y / 2 + along),
            (x / 2 + along, y - inside),
            (inside, y / 2 + along),
        ]
        spots.append([*on_wall[wall], 1.65 + along / 2])
    return np.array(spots)


def _lighting(workshop: Workshop, lights: np.ndarray, bulbs: int, middle: np.ndarray) -> Lighting:
    """Lamps and daylight; a level surface at table height in the middle gets about a unit of light."""
    table = middle + np.array([0, 0, 0.75])
    offset = lights - table
    distance = np.linalg.norm(offset, axis=1)
    received = np.clip(offset[:, 2] / distance, 0.05, 1) * 4.0 / (distance**2 + 0.16)
    daylight, ambient = workshop.uniform(0.15, 0.4), workshop.uniform(0.4, 0.55)
    share = np.concatenate([np.full(bulbs, (1 - daylight) / bulbs), np.full(len(lights) - bulbs, daylight / 2)])
    weights = (1 - ambient) * share / received.clip(0.2)
    warm = np.array([1.06, 1.0, 0.9])
    tints = np.where((np.arange(len(lights)) < bulbs)[:, None], warm, 1 / warm)
    return Lighting(weights[:, None] * tints, ambient * np.array([1.02, 1.0, 0.97]))
