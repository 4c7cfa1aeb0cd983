"""Patterns: procedural albedo with detail at every scale, as functions of the surface point.

Lengths are in the scene's unit. Every pattern fades its detail where a pixel no longer resolves it (``footprint``).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .model import Rows, Values
from .noise import SolidNoise

Colours = Float[np.ndarray, "k 3"]


def _limit(albedo: np.ndarray) -> np.ndarray:
    return np.clip(albedo, 0.015, 0.92).astype(np.float32, copy=False)


def _ramp(colours: Colours, position: Values) -> Rows:
    """Colours at 0..1 along a piecewise linear ramp."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(position, stops, channel) for channel in colours.T]).astype(np.float32)


def _random(salt: int, *cells: np.ndarray) -> Values:
    """A uniform random number in [0, 1) for every cell of an integer lattice."""
    state = np.full(cells[0].shape, (salt * 2654435761) & 0xFFFFFFFF, np.uint32)
    for cell in cells:
        state = (state ^ cell.astype(np.int32).view(np.uint32)) * np.uint32(0x9E3779B1)
        state ^= state >> np.uint32(15)
        state *= np.uint32(0x85EBCA77)
        state ^= state >> np.uint32(13)
    return (state >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _band(position: Values, low: float | Values, high: float | Values, blur: Values) -> Values:
    """1 inside (low, high), 0 outside, with borders as wide as a pixel."""
    blur = np.maximum(blur, 1e-3)
    return np.clip((position - low) / blur + 0.5, 0, 1) * np.clip((high - position) / blur + 0.5, 0, 1)


def _flat(points: Rows, normals: Rows, wrap: float) -> tuple[Values, Values]:
    """Two surface coordinates of length unit: of the side a box faces with, or around a cylinder of radius ``wrap``."""
    side = np.abs(normals).argmax(axis=0)
    u = np.where(side == 0, points[1], points[0])
    v = np.where(side == 2, points[1], points[2])
    if wrap > 0:
        around = np.arctan2(points[1], points[0]) * np.float32(wrap)
        u, v = np.where(side == 2, u, around), np.where(side == 2, v, points[2])
    return u, v


@dataclass(frozen=True)
class Mottled:
    """Smoothly mixed colours (stone, clay, paper, skin of fruit), with grain down to the pixel.

    Attributes:
        colours: the ramp that the mixture runs over.
        scale: size of the largest patches.
        contrast: how far the mixture swings; about 0.3 uses the whole ramp, 0.03 is nearly plain.
        gain: amplitude of an octave over the next coarser one.
        grain: relative lightness of an independent noise.
        stretch: lengthening of the patches along the axes (fibres, strata).
    """

    noise: SolidNoise
    colours: Colours
    scale: float
    contrast: float = 0.3
    gain: float = 0.8
    grain: float = 0.1
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        shrunk = points / np.asarray(self.stretch, np.float32)[:, None]
        mixture, grain = self.noise.fractal(shrunk, self.scale, footprint, self.gain, channels=2)
        return _limit(_ramp(self.colours, 0.5 + self.contrast * mixture) * (1 + self.grain * grain))


@dataclass(frozen=True)
class Marble:
    """Waves of period ``period`` along x, bent by noise."""

    noise: SolidNoise
    colours: Colours
    period: float
    bend: float = 1.0
    grain: float = 0.1

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        bend = self.noise.fractal(points, 2 * self.period, footprint, 0.55)[0]
        mixture, grain = self.noise.fractal(points, 0.7 * self.period, footprint, 0.9, channels=2)
        phase = points[0] / np.float32(self.period) + self.bend * bend
        wave = np.abs(2 * (phase - np.floor(phase)) - 1)
        return _limit(_ramp(self.colours, wave**2 + 0.12 * mixture) * (1 + self.grain * grain))


@dataclass(frozen=True)
class Wood:
    """Yearly rings around an axis beside the body, fibres along x.

    Attributes:
        ring: width of a ring.
        axis: (y, z) of the middle of the trunk.
    """

    noise: SolidNoise
    colours: Colours
    ring: float
    axis: tuple[float, float]
    grain: float = 0.12

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        slow = points / np.array([[10.0], [1.0], [1.0]], np.float32)
        bend = self.noise.fractal(slow, 8 * self.ring, footprint, 0.5)[0]
        fibres, lightness = self.noise.fractal(slow, 1.5 * self.ring, footprint, 0.95, channels=2)
        distance = np.hypot(points[1] - np.float32(self.axis[0]), points[2] - np.float32(self.axis[1]))
        phase = distance / np.float32(self.ring) + 1.6 * bend
        # A ring darkens slowly and ends sharply.
        wave = (phase - np.floor(phase)) ** 2
        wave = np.float32(0.33) + (wave - np.float32(0.33)) * np.clip(self.ring / (2 * footprint) - 0.5, 0, 1)
        return _limit(_ramp(self.colours[::-1], wave + 0.1 * fibres) * (1 + self.grain * (fibres + 0.5 * lightness)))


@dataclass(frozen=True)
class Speckled:
    """Grains of other colours in a base (granite, terrazzo, enamel)."""

    noise: SolidNoise
    colours: Colours
    scale: float
    amount: float = 0.9
    grain: float = 0.08

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        albedo = np.broadcast_to(self.colours[0][:, None], points.shape).astype(np.float32)
        for index, colour in enumerate(self.colours[1:]):
            cell = self.scale / 2**index
            value = self.noise.octave(points, cell, index)[0]
            blur = np.maximum(footprint / cell * 2, 0.15)
            cover = np.clip((value - self.amount) / blur + 0.5, 0, 1)
            albedo = albedo + cover * (colour[:, None].astype(np.float32) - albedo)
        fine = self.noise.fractal(points, 4 * self.scale, footprint, 0.9)[0]
        return _limit(albedo * (1 + self.grain * fine))


@dataclass(frozen=True)
class Printed:
    """Paper, packaging, posters: panels of ink, lines of letters, mottled pictures.

    Attributes:
        panel: size of a panel; letters are a small part of it.
        wrap: radius of the cylinder around the z axis to print on; 0 prints on the sides of a box.
    """

    noise: SolidNoise
    colours: Colours
    panel: float
    wrap: float = 0.0
    salt: int = 0
    wear: float = 0.06

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        u, v = _flat(points, normals, self.wrap)
        wide = 1.6 * self.panel
        column, row = np.floor(u / wide), np.floor(v / self.panel)
        kind = _random(self.salt, column, row)
        paper = self._pick(_random(self.salt + 1, column, row))
        ink = self._pick(_random(self.salt + 2, column, row))
        cover = np.where(kind < 0.55, self._letters(u, v, column, row, footprint), 0)
        mixture, wear = self.noise.fractal(points, 0.6 * self.panel, footprint, 0.85, channels=2)
        cover = np.where(kind > 0.75, np.clip(0.5 + 0.45 * mixture, 0, 1), cover)
        rule = _band(u / wide - column, 0.03, 0.97, footprint / wide)
        rule = rule * _band(v / self.panel - row, 0.04, 0.96, footprint / self.panel)
        return _limit((paper + cover * rule * (ink - paper)) * (1 + self.wear * wear))

    def _pick(self, value: Values) -> Rows:
        return self.colours[(value * len(self.colours)).astype(int)].T.astype(np.float32)

    def _letters(self, u: Values, v: Values, column: Values, row: Values, footprint: Values) -> Values:
        lines = np.floor(3 + 7 * _random(self.salt + 3, column, row))
        height = self.panel / lines
        line = np.floor(v / height)
        pitch = 0.55 * height
        letter = np.floor(u / pitch)
        x, y = u / pitch - letter, v / height - line
        dark = _random(self.salt + 4, letter, line) < 0.82
        # A letter is a stem and two bars, each there or not.
        low, high = 0.25 + 0.1 * _random(self.salt + 5, letter, line), 0.75
        right = 0.45 + np.float32(0.4) * (_random(self.salt + 8, letter, line) < 0.5)
        blur = footprint / pitch
        stem = np.maximum(_band(x, 0.1, 0.3, blur), _band(x, right, right + 0.2, blur) * (right > 0.5))
        bar = _band(x, 0.1, 0.9, footprint / pitch) * np.maximum(
            _band(y, low, low + 0.14, footprint / height) * (_random(self.salt + 6, letter, line) < 0.6),
            _band(y, high - 0.14, high, footprint / height) * (_random(self.salt + 7, letter, line) < 0.6),
        )
        return np.maximum(stem * _band(y, 0.25, high, footprint / height), bar) * dark


@dataclass(frozen=True)
class Tiled:
    """Tiles, bricks or boards with joints; each has its own tint.

    Attributes:
        size: of a tile along the two surface coordinates.
        joint: width of the joints, in the unit of length.
        offset: shift of every other row, in tiles (0.5 for bricks).
    """

    noise: SolidNoise
    colours: Colours
    size: tuple[float, float]
    joint: float
    offset: float = 0.0
    tint: float = 0.12
    grain: float = 0.12
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    wrap: float = 0.0
    salt: int = 0

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        u, v = _flat(points, normals, self.wrap)
        row = np.floor(v / self.size[1])
        shifted = u / self.size[0] + row * self.offset
        column = np.floor(shifted)
        # Every tile is cut from another place of the material.
        moved = points + 7.3 * max(self.size) * np.stack([_random(self.salt + k, column, row) for k in range(3)])
        shrunk = moved.astype(np.float32) / np.asarray(self.stretch, np.float32)[:, None]
        mixture, grain = self.noise.fractal(shrunk, 0.5 * max(self.size), footprint, 0.85, channels=2)
        lightness = 1 + self.tint * (2 * _random(self.salt + 4, column, row) - 1) + self.grain * grain
        tile = _ramp(self.colours[:-1], 0.5 + 0.3 * mixture) * lightness
        inside = [
            _band(part, self.joint / side / 2, 1 - self.joint / side / 2, footprint / side)
            for part, side in ((shifted - column, self.size[0]), (v / self.size[1] - row, self.size[1]))
        ]
        joint = self.colours[-1][:, None] * (1 + 0.5 * self.grain * grain)
        return _limit(joint + inside[0] * inside[1] * (tile - joint))


@dataclass(frozen=True)
class Woven:
    """Cloth: threads of width ``thread``, stripes or checks of width ``check`` in a few colours, faded by wear."""

    noise: SolidNoise
    colours: Colours
    thread: float
    check: float
    stripes: bool = False
    wear: float = 0.12
    wrap: float = 0.0
    salt: int = 0

    def __call__(self, points: Rows, normals: Rows, footprint: Values) -> Rows:
        u, v = _flat(points, normals, self.wrap)
        across = self._dyed(u, 0, footprint)
        along = across if self.stripes else self._dyed(v, 1, footprint)
        weave = np.sin(np.pi * u / self.thread) * np.sin(np.pi * v / self.thread)
        visible = np.clip(self.thread / (1.5 * footprint) - 1, 0, 1)
        over = 0.5 + 0.5 * weave * visible
        wear = self.noise.fractal(points, 6 * self.check, footprint, 0.9)[0]
        shade = 1 - 0.25 * visible * (1 - np.abs(weave)) + self.wear * wear
        return _limit((over * across + (1 - over) * along) * shade)

    def _dyed(self, position: Values, axis: int, footprint: Values) -> Rows:
        stripe = np.floor(position / self.check)
        inner = position / self.check - stripe
        colour, following = (
            self.colours[(_random(self.salt + axis, cell) * len(self.colours)).astype(int)].T
            for cell in (stripe, stripe + 1)
        )
        mix = np.clip((inner - 1) / np.maximum(footprint / self.check, 1e-3) + 1, 0, 1)
        return (colour + mix * (following - colour)).astype(np.float32)
