"""Random placement of a scene in the grid of voxels: turned about the vertical, and moved."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_ENTROPY = 2654435761  # spreads neighbouring seeds


@dataclass(frozen=True)
class RandomPlacement:
    """Turns the volumes' frame about the vertical by any angle, and moves it.

    The network then sees walls at any angle to its voxels, and surfaces at any place between two of them.

    Attributes:
        rotation: turn.
        move_xy, move_z: metres; the offsets are drawn from +- these. Keep ``move_z`` under the window's height that is
            free above the scene and below its floor.
    """

    rotation: bool = True
    move_xy: float = 1.5
    move_z: float = 0.25

    def draw(self, generator: torch.Generator | None = None) -> Float[Tensor, "4 4"]:
        """A rigid transform from the volumes' frame to the turned and moved one, float64."""
        turn, *moves = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        angle = 2 * math.pi * turn if self.rotation else 0.0
        transform = torch.eye(4, dtype=torch.float64)
        transform[0, :2] = torch.tensor([math.cos(angle), -math.sin(angle)])
        transform[1, :2] = torch.tensor([math.sin(angle), math.cos(angle)])
        extents = (self.move_xy, self.move_xy, self.move_z)
        for axis, (move, extent) in enumerate(zip(moves, extents, strict=True)):
            transform[axis, 3] = (2 * move - 1) * extent
        return transform


def scene_generator(seed: int, epoch: int, scene: int) -> torch.Generator:
    """Random numbers that depend on the seed, the epoch and the scene alone."""
    generator = torch.Generator()
    generator.manual_seed((seed * _ENTROPY + epoch * 100_003 + scene) % 2**63)
    return generator
