"""Solid noise: smooth random functions of a point in space, the same from every view."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32

_MAX_OCTAVES = 16
# Standard deviation of one octave (uniform lattice values, smoothly interpolated).
_OCTAVE_STD = 0.37


def rotate(rotation: np.ndarray, points: Float32[np.ndarray, "3 n"]) -> Float32[np.ndarray, "3 n"]:
    """rotation @ points, component by component: a matrix product's rounding may depend on the number of threads."""
    r = rotation.astype(np.float32)
    return np.stack([row[0] * points[0] + row[1] * points[1] + row[2] * points[2] for row in r])


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) rotation, uniform over all rotations."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


class SolidNoise:
    """Value noise on a periodic lattice, several independent channels, summed over octaves.

    Args:
        rng: decides everything.
        channels: independent noise functions.
        cells: lattice cells in a period.
    """

    def __init__(self, rng: np.random.Generator, channels: int = 2, cells: int = 64):
        values = rng.uniform(-1, 1, (channels, cells, cells, cells)).astype(np.float32)
        wrapped = np.pad(values, ((0, 0), (0, 1), (0, 1), (0, 1)), mode="wrap")
        self._lattice = torch.from_numpy(wrapped)[None]
        self._cells = cells
        # Every octave has its own orientation, so that the lattice's axes do not show.
        self._rotations = [random_rotation(rng) for _ in range(_MAX_OCTAVES)]
        self._offsets = rng.uniform(0, cells, (_MAX_OCTAVES, 3, 1)).astype(np.float32)

    def octave(
        self, points: Float32[np.ndarray, "3 n"], cell: float, index: int, channels: int = 1
    ) -> Float32[np.ndarray, "c n"]:
        """One octave with lattice cells of size ``cell``: about zero mean and unit deviation."""
        position = rotate(self._rotations[index] / cell, points) + self._offsets[index]
        corner = np.floor(position)
        fraction = position - corner
        # Smoothstep hides the creases of trilinear interpolation.
        position = corner + fraction * fraction * (3 - 2 * fraction)
        # Into one period, and from there to -1..1; faster than a modulo.
        position *= np.float32(1 / self._cells)
        position -= np.floor(corner * np.float32(1 / self._cells))
        grid = torch.from_numpy(2 * position - 1).T.reshape(1, 1, 1, -1, 3)
        sampled = F.grid_sample(self._lattice[:, :channels], grid, align_corners=True, padding_mode="border")
        return sampled[0, :, 0, 0].numpy() / np.float32(_OCTAVE_STD)

    def fractal(
        self,
        points: Float32[np.ndarray, "3 n"],
        coarsest: float,
        footprint: Float32[np.ndarray, " n"],
        gain: float = 0.8,
        channels: int = 1,
    ) -> Float32[np.ndarray, "c n"]:
        """Octaves from cell size ``coarsest`` down to what a pixel resolves; about zero mean and unit deviation.

        Args:
            footprint: size of a pixel on the surface, in the points' unit: finer octaves fade out, so that the
                result does not alias.
            gain: amplitude of an octave over that of the next coarser one.
        """
        total = np.zeros((channels, points.shape[1]), np.float32)
        if points.shape[1] == 0:
            return total
        finest = float(footprint.min())
        cell, amplitude, power = coarsest, 1.0, 0.0
        for index in range(_MAX_OCTAVES):
            if cell <= finest:
                break
            fade = np.clip(cell / footprint - 1, 0, 1) * np.float32(amplitude)
            total += fade * self.octave(points, cell, index, channels)
            power += amplitude**2
            cell, amplitude = cell / 2, amplitude * gain
        # The norm counts a fixed number of octaves: contrast must not depend on the distance.
        return total / np.float32(np.sqrt(sum(gain ** (2 * k) for k in range(6))))
