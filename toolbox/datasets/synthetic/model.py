"""The model of a scene: bodies with materials, lights, a backdrop. Knows no file layout and no camera."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, Int

Vector = np.ndarray | Sequence[float | int]
Rows = Float32[np.ndarray, "3 n"]
Values = Float32[np.ndarray, " n"]

Pattern = Callable[[Rows, Rows, Values], Rows]
"""Linear RGB albedo by (points, normals, footprint). Points are in the body's own frame, so the pattern sticks to it.
The footprint is the size of a pixel on the surface."""


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        pattern: its albedo.
        specular: strength of the highlight.
        shininess: exponent of the highlight (Blinn-Phong).
        emission: radiance it sends out by itself, times its albedo.
    """

    pattern: Pattern
    specular: float = 0.03
    shininess: float = 20.0
    emission: float = 0.0


@dataclass(frozen=True)
class Shape:
    """A triangle mesh; outward faces are counter-clockwise. Faces that share no vertices meet in a crease."""

    vertices: Float[np.ndarray, "n 3"]
    triangles: Int[np.ndarray, "m 3"]

    def moved(self, rotation: np.ndarray, translation: Vector) -> "Shape":
        """The shape after a rigid motion."""
        return Shape(self.vertices @ np.asarray(rotation).T + np.asarray(translation), self.triangles)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> "Shape":
        """The shape with every vertex moved by a function of its position: (n, 3) -> (n, 3)."""
        return Shape(function(self.vertices), self.triangles)


@dataclass(frozen=True)
class Body:
    """A shape in the world with its material.

    Attributes:
        shape: vertices in the world.
        material: how it looks.
        rotation, origin: the body's own frame: point = rotation @ own + origin.
    """

    shape: Shape
    material: Material
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))


@dataclass(frozen=True)
class Lighting:
    """What shines.

    Attributes:
        weights: linear RGB intensity of every light of the scene: its irradiance at the scene's ``reach``.
        ambient: linear RGB light from everywhere, lessened where the surroundings hide it.
    """

    weights: Float[np.ndarray, "k 3"]
    ambient: Float[np.ndarray, " 3"]


@dataclass(frozen=True)
class SceneModel:
    """Everything that can be seen.

    Attributes:
        bodies: with what they are made of.
        lights: positions of point lights.
        reach: distance at which a light of weight 1 gives irradiance 1; it falls off with the square.
        light_radius: how far the lights extend, about: nearer than that, they grow no brighter.
        lightings: each image is taken under one of them.
        occlusion_radius: how far surroundings hide the ambient light.
        backdrop: linear RGB radiance by unit viewing direction, for rays that meet no body.
    """

    bodies: list[Body]
    lights: Float[np.ndarray, "k 3"]
    reach: float
    light_radius: float
    lightings: list[Lighting]
    occlusion_radius: float
    backdrop: Callable[[Rows], Rows]


def vertex_normals(shape: Shape) -> Float[np.ndarray, "n 3"]:
    """Unit normals, the mean of the adjacent faces' weighted by area."""
    corners = shape.vertices[shape.triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(shape.vertices, dtype=np.float64)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(shape.triangles[:, corner], face[:, axis], len(normals))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0, length, 1)


def merge(shapes: list[Shape]) -> Shape:
    """All shapes as one."""
    starts = np.cumsum([0] + [len(shape.vertices) for shape in shapes[:-1]])
    return Shape(
        np.concatenate([shape.vertices for shape in shapes]),
        np.concatenate([shape.triangles + start for shape, start in zip(shapes, starts, strict=True)]),
    )
