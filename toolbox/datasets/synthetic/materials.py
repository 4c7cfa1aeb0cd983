"""Random materials: which patterns in which colours, for objects and furniture."""

import colorsys
import math
from collections.abc import Callable

import numpy as np

from .model import Material
from .noise import SolidNoise
from .textures import Marble, Mottled, Printed, Speckled, Tiled, Wood, Woven

Range = tuple[float, float]


class MaterialMaker:
    """Draws materials from families.

    Args:
        rng: decides everything.
        size: a typical object's size in the scene's unit; patterns scale with it.
    """

    def __init__(self, rng: np.random.Generator, size: float):
        self.rng, self.size = rng, size
        self.noise = SolidNoise(rng, channels=3)

    def colour(
        self, saturation: tuple[float, float] = (0.1, 0.8), value: tuple[float, float] = (0.2, 0.9)
    ) -> np.ndarray:
        """(3,) linear RGB of a random hue, mostly a muted one."""
        muted = saturation[0] + (saturation[1] - saturation[0]) * self.rng.random() ** 1.6
        display = colorsys.hsv_to_rgb(self.rng.random(), muted, self.rng.uniform(*value))
        return np.asarray(display) ** 2.2

    def shades(self, colour: np.ndarray, count: int = 4, spread: float = 0.6) -> np.ndarray:
        """(count, 3) variations of a colour from dark to light, with drifting hue."""
        lightness = np.exp(np.linspace(-spread, spread, count))[:, None]
        return np.clip(colour * lightness * self.rng.uniform(0.85, 1.15, (count, 3)), 0.02, 0.9)

    def _uniform(self, low: float | int, high: float | int) -> float:
        # A plain float: NumPy's would turn single-precision images into double-precision ones.
        return float(self.rng.uniform(low, high))

    def _scaled(self, low: float, high: float) -> float:
        return self.size * math.exp(self._uniform(math.log(low), math.log(high)))

    def _salt(self) -> int:
        return int(self.rng.integers(2**20))

    def clay(self, colour: np.ndarray | None = None) -> Material:
        """Earthenware, stone, fruit skin, leaves: shades of one colour, a random one if not given."""
        colours = self.shades(self.colour() if colour is None else colour, 5, self._uniform(0.5, 1.0))
        gain, grain = self._uniform(0.75, 1.0), self._uniform(0.08, 0.2)
        pattern = Mottled(self.noise, colours, self._scaled(0.2, 0.8), self._uniform(0.2, 0.4), gain, grain)
        return Material(pattern, self._uniform(0.0, 0.05), self._uniform(8, 40))

    def patchwork(self) -> Material:
        """Painted: several colours mixed."""
        base = self.colour((0.1, 0.6), (0.3, 0.8))
        colours = np.stack([0.45 * base + 0.55 * self.colour() for _ in range(5)])
        pattern = Mottled(self.noise, colours, self._scaled(0.2, 0.6), 0.35, self._uniform(0.5, 0.8), 0.12)
        return Material(pattern, self._uniform(0.02, 0.08), self._uniform(15, 60))

    def plain(self) -> Material:
        """Glazed, moulded or painted in one colour: hardly any texture."""
        colours = self.shades(self.colour((0.0, 0.5), (0.3, 0.9)), 3, 0.12)
        pattern = Mottled(self.noise, colours, self._scaled(0.5, 1.5), 0.25, 0.7, 0.015)
        return Material(pattern, self._uniform(0.04, 0.12), self._uniform(30, 90))

    def marble(self) -> Material:
        """Veined stone."""
        light = self.colour((0.0, 0.3), (0.6, 0.95))
        colours = np.stack([light, light * 0.85, light * self._uniform(0.2, 0.5)])
        pattern = Marble(self.noise, colours, self._scaled(0.2, 0.6), self._uniform(0.6, 1.4))
        return Material(pattern, self._uniform(0.03, 0.1), self._uniform(30, 80))

    def wood(self) -> Material:
        """Grown along x."""
        hue, value = self._uniform(0.055, 0.1), self._uniform(0.3, 0.8)
        base = np.asarray(colorsys.hsv_to_rgb(hue, self._uniform(0.35, 0.65), value)) ** 2.2
        axis = (self.size * self._uniform(-1.0, 1.0), -self.size * self._uniform(0.3, 1.5))
        pattern = Wood(self.noise, self.shades(base, 3, 0.3), self._scaled(0.04, 0.1), axis, self._uniform(0.06, 0.12))
        return Material(pattern, self._uniform(0.01, 0.06), self._uniform(10, 40))

    def granite(self) -> Material:
        """Speckles of several sizes."""
        colours = np.stack([self.colour((0.0, 0.5), (0.3, 0.9))] + [self.colour((0.0, 0.7)) for _ in range(3)])
        pattern = Speckled(self.noise, colours, self._scaled(0.06, 0.2), self._uniform(0.5, 1.0), 0.1)
        return Material(pattern, self._uniform(0.02, 0.08), self._uniform(20, 60))

    def printed(self, wrap: float = 0.0) -> Material:
        """Paper or packaging with letters and pictures."""
        colours = np.stack([self.colour((0.0, 0.2), (0.75, 0.95)), *(self.colour() for _ in range(4))])
        pattern = Printed(self.noise, colours, self._scaled(0.25, 0.6), wrap, self._salt(), 0.08)
        return Material(pattern, self._uniform(0.0, 0.06), self._uniform(20, 60))

    def bricks(self) -> Material:
        """Bricks, tiles or boards in miniature or at full size."""
        colours = np.concatenate([self.shades(self.colour((0.2, 0.7)), 3, 0.5), [self.colour((0.0, 0.2))]])
        long = self._scaled(0.2, 0.5)
        size, offset = (long, long * self._uniform(0.35, 1.0)), float(self.rng.choice([0.0, 0.5]))
        pattern = Tiled(self.noise, colours, size, 0.05 * long, offset, 0.25, 0.15, salt=self._salt())
        return Material(pattern, self._uniform(0.0, 0.05), self._uniform(10, 30))

    def cloth(self, wrap: float = 0.0) -> Material:
        """Woven stripes or checks."""
        colours = np.stack([self.colour((0.1, 0.7), (0.25, 0.9)) for _ in range(self.rng.integers(3, 6))])
        stripes, check = bool(self.rng.random() < 0.4), self._scaled(0.06, 0.25)
        pattern = Woven(self.noise, colours, 0.012 * self.size, check, stripes, 0.12, wrap, self._salt())
        return Material(pattern, 0.0, 10.0)

    def any_of(self, *families: Callable[[], Material]) -> Material:
        """A material of one of the families."""
        return families[self.rng.integers(len(families))]()

    def carved(self) -> Material:
        """For rounded things without flat sides."""
        return self.any_of(self.clay, self.clay, self.patchwork, self.marble, self.wood, self.granite, self.plain)
