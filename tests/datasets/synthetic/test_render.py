"""Ray casting: exact depth, light and shadow."""

import numpy as np
import pytest

from toolbox.datasets.synthetic import shapes
from toolbox.datasets.synthetic.model import Body, Lighting, Material, SceneModel
from toolbox.datasets.synthetic.render import Renderer
from toolbox.datasets.synthetic.rigs import Camera, look_at

SIZE = (45, 60)
CAMERA = Camera(
    np.array([[70.0, 0, 31.5], [0, 68.0, 20.25], [0, 0, 1]]),
    look_at(np.array([2.0, -6.0, 7.0]), np.array([0.0, 0.2, 0.0]), 0.1),
    SIZE,
)


def white(points: np.ndarray, normals: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    return np.full_like(points, 0.5)


def backdrop(directions: np.ndarray) -> np.ndarray:
    return np.full_like(directions, 0.25)


def scene(*more: Body, ambient: float = 0.0, extent: float = 4.0) -> SceneModel:
    """A level square about the origin under one light above; more bodies on request."""
    low = [-extent, -extent, 0.0]
    floor = Body(shapes.rectangle(low, [2 * extent, 0, 0], [0, 2 * extent, 0], 0.5), Material(white, 0.0))
    lighting = Lighting(np.ones((1, 3)), np.full(3, ambient))
    return SceneModel([floor, *more], np.array([[0.0, 0.0, 10.0]]), 10.0, 0.0, [lighting], 1.0, backdrop)


def plane_depth(normal: np.ndarray, offset: float) -> np.ndarray:
    """z-depth of the plane normal . X = offset at the camera's pixel centres."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    rays = np.linalg.inv(CAMERA.intrinsics) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    directions = CAMERA.world_to_cam[:3, :3].T @ rays
    return ((offset - normal @ CAMERA.centre) / (normal @ directions)).reshape(SIZE)


def test_depth_is_exact_at_pixel_centres():
    depth = Renderer(scene(extent=40.0)).render(CAMERA, [0]).depth
    np.testing.assert_allclose(depth, plane_depth(np.array([0, 0, 1.0]), 0.0), rtol=2e-6)


def test_light_falls_as_it_should():
    image = Renderer(scene(extent=40.0)).render(CAMERA, [0]).radiance[0]
    y, x = 24, 17
    point = np.linalg.inv(CAMERA.world_to_cam) @ np.append(
        plane_depth(np.array([0, 0, 1.0]), 0.0)[y, x] * np.linalg.inv(CAMERA.intrinsics) @ [x, y, 1.0], 1
    )
    to_light = np.array([0, 0, 10.0]) - point[:3]
    distance = np.linalg.norm(to_light)
    # Albedo 0.5, a light of weight 1 at reach 10: Lambert's cosine, inverse square.
    assert image[y, x] == pytest.approx(0.5 * to_light[2] / distance * 100 / distance**2, rel=1e-4)


def test_shadow_and_occlusion():
    lid = Body(shapes.box([3.0, 3.0, 0.1], 0.5).moved(np.eye(3), [0, 0, 0.8]), Material(white))
    # Seen from the side below the lid: the floor there is in shadow, and half hidden from the ambient light.
    camera = Camera(CAMERA.intrinsics, look_at(np.array([0.0, -6.0, 2.0]), np.array([0.0, 0.0, 0.0])), SIZE)
    x, y = np.array([0.0, -2.5]), np.array([-1.0, -1.0])
    for ambient, dark in ((0.0, 0.0), (1.0, 0.7)):
        renderer = Renderer(scene(lid, ambient=ambient))
        image = renderer.render(camera, [0]).radiance[0]
        positions = camera.intrinsics @ (camera.world_to_cam @ np.stack([x, y, 0 * x, 0 * x + 1]))[:3]
        columns, rows = np.round(positions[:2] / positions[2]).astype(int)
        under, beside = image[rows, columns].mean(axis=1)
        assert under <= dark * 0.5 + 1e-6
        assert beside > 0.4 + 0.45 * ambient


def test_background_has_no_depth():
    rendering = Renderer(scene(ambient=1.0, extent=1.0)).render(CAMERA, [0])
    outside = rendering.depth == 0
    assert 0.2 < outside.mean() < 1
    assert rendering.radiance[0][0, 0] == pytest.approx(0.25)


def test_visible_mesh_leaves_out_what_no_camera_sees():
    block = Body(shapes.box([1.0, 1.0, 1.0], 0.25), Material(white))
    renderer = Renderer(scene(block))
    shape, rgb = renderer.visible_mesh([CAMERA])
    assert len(rgb) == len(shape.vertices)
    assert 0 < len(shape.triangles) < len(renderer.shape.triangles)
    centres = shape.vertices[shape.triangles].mean(axis=1)
    # The camera stands at y < 0 above: it sees the block's top and front, and not its back.
    assert (np.isclose(centres[:, 1], -0.5) & (centres[:, 2] > 0.1)).any()
    assert (np.isclose(centres[:, 2], 1.0)).any()
    assert not (np.isclose(centres[:, 1], 0.5) & (centres[:, 2] > 0.1)).any()
    np.testing.assert_array_equal(rgb, 188)
