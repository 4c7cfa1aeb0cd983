"""Parametric meshes: size, orientation, closedness."""

import numpy as np
import pytest
import trimesh

from toolbox.datasets.synthetic import shapes
from toolbox.datasets.synthetic.materials import MaterialMaker
from toolbox.datasets.synthetic.model import Shape, merge, vertex_normals
from toolbox.datasets.synthetic.noise import SolidNoise
from toolbox.datasets.synthetic.objects import KINDS, make_object


def solid(shape: Shape) -> trimesh.Trimesh:
    """The mesh with vertices at one place made one."""
    places, index = np.unique(np.round(shape.vertices, 5), axis=0, return_inverse=True)
    return trimesh.Trimesh(places, index.reshape(-1)[shape.triangles])


# Closed, facing outwards (a positive volume), and of the volume that geometry tells.
@pytest.mark.parametrize(
    ("shape", "volume"),
    [
        (shapes.box([3.0, 4.0, 5.0], 0.5), 60.0),
        (shapes.superquadric([2.0, 4.0, 6.0], 1.0, 1.0, 0.1), 4 / 3 * np.pi * 6),
        (shapes.superquadric([2.0, 2.0, 2.0], 0.05, 0.05, 0.05), 8.0),
        (shapes.cylinder(2.0, 3.0, 0.1), np.pi * 12),
        (shapes.torus(5.0, 1.0, 0.15), 2 * np.pi**2 * 5),
        (shapes.lathe([(1e-4, 0), (3, 0), (1e-4, 4)], 0.05), 12 * np.pi),
    ],
    ids=["box", "ellipsoid", "rounded box", "cylinder", "torus", "cone"],
)
def test_volume(shape, volume):
    assert solid(shape).volume == pytest.approx(volume, rel=0.03)
    assert shape.vertices[:, 2].min() == pytest.approx(0, abs=0.005)


def test_displacement_keeps_seams_closed():
    noise = SolidNoise(np.random.default_rng(0), channels=3)
    bumpy = shapes.displace(shapes.box([3.0, 4.0, 5.0], 0.5), noise, 0.1, 2.0, 0.2)
    assert solid(bumpy).is_watertight
    assert np.abs(bumpy.vertices - shapes.box([3.0, 4.0, 5.0], 0.5).vertices).max() > 0.05


def test_twist_and_taper():
    box = shapes.box([2.0, 2.0, 4.0], 1.0)
    top = box.vertices[:, 2] == 4
    np.testing.assert_allclose(shapes.taper(box, 0.5).vertices[top, :2], 0.5 * box.vertices[top, :2])
    quarter = shapes.twist(box, np.pi / 2).vertices[top]
    np.testing.assert_allclose(quarter[:, 0], -box.vertices[top, 1], atol=1e-12)


def test_normals_and_merging():
    sphere = shapes.superquadric([2.0, 2.0, 2.0], 1.0, 1.0, 0.1)
    np.testing.assert_allclose(vertex_normals(sphere), sphere.vertices - [0, 0, 1], atol=0.04)
    both = merge([sphere, sphere.moved(np.eye(3), [5, 0, 0])])
    assert solid(both).volume == pytest.approx(2 * solid(sphere).volume)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=lambda kind: KINDS[kind].__name__)
def test_objects_keep_to_their_space(kind):
    maker = MaterialMaker(np.random.default_rng(kind), 100.0)
    for _ in range(3):
        parts = make_object(maker, kind, 80.0, 6.0)
        points = np.concatenate([shape.vertices for shape, _ in parts])
        assert np.hypot(points[:, 0], points[:, 1]).max() <= 50.001
        assert points[:, 2].max() <= 100.001
        assert np.ptp(points, axis=0).max() > 20
        assert -8 < points[:, 2].min() <= 1e-6
