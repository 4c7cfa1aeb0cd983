"""Parametric meshes, centred on the z axis and standing on z = 0 unless said otherwise.

``edge`` is the length of a triangle's side, about: it sets how fine bumps and shadows in corners can be.
"""

from collections.abc import Sequence

import numpy as np

from .model import Shape, Vector, merge
from .noise import SolidNoise


def sheet(vertices: np.ndarray, wrap: bool = False) -> Shape:
    """The mesh of a (rows, columns, 3) grid; ``wrap`` joins the last column to the first."""
    rows, columns = vertices.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    if wrap:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    return Shape(vertices.reshape(-1, 3), triangles)


def _steps(length: float, edge: float) -> int:
    return max(1, round(length / edge))


def rectangle(corner: Vector, along: Vector, across: Vector, edge: float) -> Shape:
    """A flat patch spanned by two vectors from a corner, facing ``along`` x ``across``."""
    corner, along, across = (np.asarray(v, float) for v in (corner, along, across))
    u = np.linspace(0, 1, _steps(np.linalg.norm(along), edge) + 1)
    v = np.linspace(0, 1, _steps(np.linalg.norm(across), edge) + 1)
    return sheet(corner + v[:, None, None] * across + u[None, :, None] * along)


def box(size: Vector, edge: float) -> Shape:
    """A box with creased edges."""
    sx, sy, sz = size
    x, y, z = np.eye(3) * np.asarray(size, float)
    low = np.array([-sx / 2, -sy / 2, 0.0])
    high = np.array([sx / 2, sy / 2, sz])
    sides = [(low, y, x), (low, x, z), (low, z, y), (high, -x, -y), (high, -z, -x), (high, -y, -z)]
    return merge([rectangle(corner, along, across, edge) for corner, along, across in sides])


def _directions(steps: int) -> Shape:
    """Unit directions on the six faces of a cube, welded at its edges."""
    angles = np.tan(np.linspace(-np.pi / 4, np.pi / 4, steps + 1))
    v, u = np.meshgrid(angles, angles, indexing="ij")
    one = np.ones_like(u)
    faces = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for sign in (1, -1):
            face = np.empty((*u.shape, 3))
            face[..., axis], face[..., first], face[..., second] = sign * one, sign * u, v
            faces.append(sheet(face))
    cube = merge(faces)
    keys, first, inverse = np.unique(np.round(cube.vertices, 6), axis=0, return_index=True, return_inverse=True)
    del keys
    vertices = cube.vertices[first]
    vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return Shape(vertices, inverse.reshape(-1)[cube.triangles])


def superquadric(size: Vector, round_profile: float, round_section: float, edge: float) -> Shape:
    """A superellipsoid: exponents 1, 1 give an ellipsoid, small ones a box with rounded edges, 2 a diamond."""
    half = np.asarray(size, float) / 2
    sphere = _directions(_steps(half.max() * np.pi / 2, edge))
    x, y, z = np.abs(sphere.vertices.T) + 1e-9
    section = (x ** (2 / round_section) + y ** (2 / round_section)) ** (round_section / round_profile)
    radius = (section + z ** (2 / round_profile)) ** (-round_profile / 2)
    return Shape(sphere.vertices * radius[:, None] * half + [0, 0, half[2]], sphere.triangles)


def lathe(profile: Sequence[tuple[float | int, float | int]], edge: float) -> Shape:
    """A surface of revolution about z; ``profile`` is a polyline of (radius, height), outer side up."""
    points = np.asarray(profile, float)
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    position = np.concatenate([[0], np.cumsum(lengths)])
    at = np.linspace(0, position[-1], _steps(position[-1], edge) + 1)
    radius, height = np.interp(at, position, points[:, 0]), np.interp(at, position, points[:, 1])
    columns = max(12, _steps(2 * np.pi * points[:, 0].max(), edge))
    angle = np.arange(columns) * (2 * np.pi / columns)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    vertices = np.concatenate(
        [radius[:, None, None] * ring, np.broadcast_to(height[:, None, None], (len(at), columns, 1))], axis=-1
    )
    return sheet(vertices, wrap=True)


def cylinder(radius: float, height: float, edge: float) -> Shape:
    """A closed cylinder with creased rims."""
    return merge(
        [
            lathe([(radius, 0), (radius, height)], edge),
            lathe([(radius, height), (1e-3 * radius, height)], edge),
            lathe([(1e-3 * radius, 0), (radius, 0)], edge),
        ]
    )


def torus(radius: float, tube: float, edge: float, waviness: float = 0.0, waves: int = 5) -> Shape:
    """A ring lying flat; the tube's thickness varies by ``waviness``."""
    columns, rows = _steps(2 * np.pi * radius, edge), max(8, _steps(2 * np.pi * tube, edge))
    along = np.arange(columns) * (2 * np.pi / columns)
    around = np.linspace(0, 2 * np.pi, rows + 1)[:, None]
    thickness = tube * (1 + waviness * np.sin(waves * along))
    distance = radius + thickness * np.cos(around)
    vertices = np.stack(
        [distance * np.cos(along), distance * np.sin(along), thickness * np.sin(around) + tube * (1 + waviness)], -1
    )
    return sheet(vertices, wrap=True)


def displace(shape: Shape, noise: SolidNoise, amplitude: float, coarsest: float, finest: float) -> Shape:
    """Move vertices by a smooth random vector field: bumps from size ``coarsest`` down to ``finest``.

    The field is a function of the position, so that seams stay closed. ``noise`` needs three channels.
    """
    footprint = np.full(len(shape.vertices), finest, np.float32)
    field = noise.fractal(shape.vertices.T.astype(np.float32), coarsest, footprint, gain=0.5, channels=3)
    return Shape(shape.vertices + amplitude * field.T, shape.triangles)


def twist(shape: Shape, turn: float) -> Shape:
    """Turn about z by ``turn`` radians from bottom to top."""
    x, y, z = shape.vertices.T
    angle = turn * z / max(z.max(), 1e-9)
    turned = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z], axis=1)
    return Shape(turned, shape.triangles)


def taper(shape: Shape, top: float) -> Shape:
    """Scale x and y linearly from 1 at the bottom to ``top`` at the top."""
    z = shape.vertices[:, 2:]
    scale = 1 + (top - 1) * z / max(z.max(), 1e-9)
    return Shape(np.concatenate([shape.vertices[:, :2] * scale, z], axis=1), shape.triangles)
