"""Renderers: exact on surfaces whose depth is known, equal to each other, clear about what they cannot do."""

import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from toolbox.errors import UserError
from toolbox.io import write_ply
from toolbox.registry import RENDERERS
from toolbox.rendering import DepthRenderer

SIZE = (120, 170)
INTRINSICS = np.array([[140.0, 0, 81.3], [0, 155.0, 63.7], [0, 0, 1]])
MILLIMETRE = 1e-3


@pytest.fixture(scope="session")
def _opengl() -> None:
    """OpenGL without a display; missing is a failure in CI and a skip elsewhere."""
    try:
        RENDERERS.build({"type": "PyrenderRenderer"}).load(trapezium())
    except UserError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(params=["RaycastRenderer", "PyrenderRenderer"])
def renderer(request) -> DepthRenderer:
    if request.param == "PyrenderRenderer":
        request.getfixturevalue("_opengl")
    return RENDERERS.build({"type": request.param})


@pytest.fixture
def pyrender_renderer(_opengl) -> DepthRenderer:
    return RENDERERS.build({"type": "PyrenderRenderer"})


def trapezium(corners=((-9.0, -8), (11, -8), (-9, 12), (11, 12)), slope=(0.35, -0.2), depth=2.5):
    """A slanted plane z = depth + slope . (x, y), as vertices and triangles."""
    xy = np.array(corners)
    vertices = np.column_stack((xy, depth + xy @ np.array(slope)))
    return vertices, np.array([[0, 1, 2], [3, 2, 1]])


def sphere(radius=0.8, subdivisions=6):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def rays(size=SIZE, intrinsics=INTRINSICS):
    """Directions of unit z-depth through the pixels' centres, in the camera."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return np.stack((x, y, np.ones_like(x)), axis=-1) @ np.linalg.inv(intrinsics).T


def camera(angles=(0.3, -0.5, 0.2), position=(0.2, -0.1, 2.4)):
    """A rotated camera whose own origin sees the world's origin at ``position``."""
    rotation = trimesh.transformations.euler_matrix(*angles)
    rotation[:3, 3] = position
    return rotation


def away_from_silhouettes(first, second, reach=1):
    """Pixels around which both maps see a surface without a jump."""
    inside = np.ones(first.shape, bool)
    for depth in (first, second):
        neighbours = [
            np.roll(depth, (i, j), (0, 1)) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)
        ]
        inside &= (np.min(neighbours, axis=0) > 0) & (np.ptp(neighbours, axis=0) < 0.2)
    return inside


def plane_depth(slope=(0.35, -0.2), depth=2.5):
    direction = rays()
    return depth / (1 - direction[..., 0] * slope[0] - direction[..., 1] * slope[1])


@pytest.mark.parametrize("turned", [False, True], ids=["front", "back"])
def test_a_plane_has_its_exact_depth_from_both_sides(renderer, turned):
    vertices, triangles = trapezium()
    renderer.load((vertices, triangles[:, ::-1] if turned else triangles))
    depth = renderer.render(INTRINSICS, np.eye(4), SIZE)
    assert depth.shape == SIZE
    assert depth.dtype == np.float32
    # The plane reaches behind the camera, the hardest case for a depth buffer. A pixel's step is up to 13 mm here.
    error = np.abs(depth - plane_depth())
    assert error.max() < 0.5 * MILLIMETRE
    assert np.median(error) < 0.15 * MILLIMETRE


def test_ray_casting_is_exact_to_single_precision():
    renderer = RENDERERS.build({"type": "RaycastRenderer"})
    renderer.load(trapezium())
    exact = plane_depth()
    assert np.abs(renderer.render(INTRINSICS, np.eye(4), SIZE) / exact - 1).max() < 2e-6
    skewed = INTRINSICS + np.array([[0, 21.0, 0], [0, 0, 0], [0, 0, 0]])
    direction = rays(intrinsics=skewed)
    depth = renderer.render(skewed, np.eye(4), SIZE)
    assert np.abs(depth * (1 - direction[..., 0] * 0.35 + direction[..., 1] * 0.2) / 2.5 - 1).max() < 2e-6


def test_a_sphere_has_its_exact_depth(renderer):
    """The nearer root of |t d - c| = r; the facets of the mesh lie up to 0.2 mm inside."""
    renderer.load(sphere(0.8))
    depth = renderer.render(INTRINSICS, camera(position=(0.2, -0.1, 2.4)), SIZE)
    direction, centre = rays(), np.array([0.2, -0.1, 2.4])
    a, b = (direction**2).sum(-1), direction @ centre
    root = b**2 - a * (centre @ centre - 0.8**2)
    exact = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    assert 0.3 < (exact > 0).mean() < 0.5
    assert ((depth > 0) != (exact > 0)).mean() < 0.002
    inside = away_from_silhouettes(depth, exact.astype(np.float32), reach=2)
    assert inside.sum() > 0.8 * (exact > 0).sum()
    assert np.abs(depth - exact)[inside].max() < MILLIMETRE


def cluttered():
    """A box around the camera, seen from inside, with a sphere and a slanted plate in it."""
    room = trimesh.creation.box(extents=(5, 4, 6)).subdivide().subdivide()
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5).apply_translation((0.4, 0.2, 1.5))
    plate = trimesh.Trimesh(*trapezium(((-1.0, -1), (-0.2, -1), (-1, 0.5), (-0.2, 0.5)), depth=1.4), process=False)
    mesh = trimesh.util.concatenate((room, ball, plate))
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def test_both_agree_to_a_millimetre_inside_a_room(pyrender_renderer):
    raycast = RENDERERS.build({"type": "RaycastRenderer"})
    for each in (raycast, pyrender_renderer):
        each.load(cluttered())
    for angles, position in (((0.1, 0.2, 0.05), (0.1, -0.2, 0.3)), ((-0.4, 2.1, 0.3), (-0.5, 0.1, 0.2))):
        views = [r.render(INTRINSICS, camera(angles, position), SIZE) for r in (raycast, pyrender_renderer)]
        assert (views[0] > 0).all()
        inside = away_from_silhouettes(*views)
        assert inside.mean() > 0.8
        assert (np.abs(views[0] - views[1])[inside] < MILLIMETRE).mean() > 0.999


def test_nothing_is_seen_beyond_the_far_limit_nor_behind_the_camera(renderer):
    renderer.load(trapezium())
    everything = renderer.render(INTRINSICS, np.eye(4), SIZE)
    limited = renderer.render(INTRINSICS, np.eye(4), SIZE, far=2.6)
    exact = plane_depth()
    clear = np.abs(exact - 2.6) > MILLIMETRE
    assert 0.2 < (exact < 2.6).mean() < 0.8
    assert np.array_equal((limited > 0)[clear], (exact < 2.6)[clear])
    assert np.abs(limited - everything)[limited > 0].max() < 0.5 * MILLIMETRE
    assert not renderer.render(INTRINSICS, np.eye(4), SIZE, far=0.4).any()
    behind = np.diag([-1.0, 1, -1, 1])
    renderer.load(sphere(0.3, 2))
    assert not renderer.render(INTRINSICS, camera((0, 0, 0), (0, 0, -2.0)), SIZE).any()
    assert not renderer.render(INTRINSICS, behind @ camera((0, 0, 0), (0, 0, 2.0)), SIZE).any()


def test_a_near_surface_hides_a_far_one_whatever_the_limit(renderer):
    """The ray ends at the first surface: no second one shows through."""
    near, far = trapezium(slope=(0, 0), depth=1.7), trapezium(slope=(0, 0), depth=1.2)
    renderer.load((np.concatenate((near[0], far[0])), np.concatenate((near[1], far[1] + 4))))
    assert np.allclose(renderer.render(INTRINSICS, np.eye(4), SIZE), 1.2, atol=1e-4)
    assert np.allclose(renderer.render(INTRINSICS, np.eye(4), SIZE, far=1.5), 1.2, atol=1e-4)


def test_several_views_of_one_mesh_do_not_depend_on_each_other(renderer):
    renderer.load(sphere(subdivisions=3))
    poses = [camera(angles=(0.1 * i, 0.2, 0.3), position=(0.1 * i, 0.05, 2.0 + i)) for i in range(3)]
    views = [renderer.render(INTRINSICS, pose, (90 + 7 * i, 110)) for i, pose in enumerate(poses)]
    again = RENDERERS.build({"type": type(renderer).__name__})
    again.load(sphere(subdivisions=3))
    for i in (2, 0, 1):
        assert np.array_equal(again.render(INTRINSICS, poses[i], (90 + 7 * i, 110)), views[i])
    assert len({view.tobytes() for view in views}) == 3


def test_two_renderers_live_side_by_side(renderer):
    other = RENDERERS.build({"type": type(renderer).__name__})
    renderer.load(trapezium())
    other.load(sphere(subdivisions=3))
    before = renderer.render(INTRINSICS, np.eye(4), SIZE)
    seen = other.render(INTRINSICS, camera(), SIZE)
    del other
    assert not np.array_equal(before, seen)
    assert np.array_equal(renderer.render(INTRINSICS, np.eye(4), SIZE), before)
    renderer.load(sphere(subdivisions=3))
    assert np.array_equal(renderer.render(INTRINSICS, camera(), SIZE), seen)


def test_the_worlds_origin_may_be_far_away(renderer):
    vertices, triangles = sphere(subdivisions=4)
    renderer.load((vertices, triangles))
    here = renderer.render(INTRINSICS, camera(), SIZE)
    offset = np.array([4e5, -7e5, 150.0])
    pose = camera()
    pose[:3, 3] -= pose[:3, :3] @ offset
    renderer.load((vertices + offset, triangles))
    there = renderer.render(INTRINSICS, pose, SIZE)
    inside = away_from_silhouettes(here, there)
    assert inside.any()
    assert np.abs(here - there)[inside].max() < 0.1 * MILLIMETRE


@pytest.mark.parametrize("name", ["mesh.ply", "mesh.obj", "mesh.stl", "mesh.off", "mesh.glb"])
def test_files_give_what_their_arrays_give(tmp_path, name):
    vertices, triangles = sphere(subdivisions=3)
    trimesh.Trimesh(vertices, triangles, process=False).export(tmp_path / name)
    renderer = RENDERERS.build({"type": "RaycastRenderer"})
    renderer.load((vertices, triangles))
    expected = renderer.render(INTRINSICS, camera(), SIZE)
    renderer.load(tmp_path / name)
    from_file = renderer.render(INTRINSICS, camera(), SIZE)
    assert (expected > 0).any()
    assert ((expected > 0) != (from_file > 0)).mean() < 1e-3
    both = (expected > 0) & (from_file > 0)
    assert np.abs(expected - from_file)[both].max() < 0.1 * MILLIMETRE


def test_a_file_that_is_no_whole_mesh_is_named(renderer, tmp_path):
    vertices, triangles = sphere(subdivisions=2)
    good, bad = tmp_path / "good.ply", tmp_path / "bad.ply"
    write_ply(good, vertices.astype(np.float32), triangles=triangles.astype(np.int32))
    renderer.load(str(good))
    content = good.read_bytes()
    for broken in (content[: len(content) - 100], content[: len(content) // 3], b"no mesh at all", b""):
        bad.write_bytes(broken)
        with pytest.raises(UserError, match=r"bad\.ply: cannot be read as a mesh"):
            renderer.load(bad)
    with pytest.raises(UserError, match=r"absent\.ply: does not exist"):
        renderer.load(tmp_path / "absent.ply")
    write_ply(bad, vertices.astype(np.float32))
    with pytest.raises(UserError, match=r"bad\.ply: holds no triangles"):
        renderer.load(bad)
    # The mesh loaded before is still there.
    assert renderer.render(INTRINSICS, camera(), SIZE).any()


def test_arrays_that_are_no_mesh_are_told(renderer):
    vertices, triangles = trapezium()
    with pytest.raises(UserError, match="holds no triangles"):
        renderer.load((vertices, triangles[:0]))
    with pytest.raises(UserError, match=r"vertices 1 to 4, but 4 vertices"):
        renderer.load((vertices, triangles + 1))
    with pytest.raises(UserError, match="not finite"):
        renderer.load((np.where(vertices == 11, np.nan, vertices), triangles))
    with pytest.raises(RuntimeError, match="load a mesh"):
        renderer.render(INTRINSICS, np.eye(4), SIZE)


def test_cameras_that_make_no_sense_are_told(renderer):
    renderer.load(trapezium())
    mirrored = INTRINSICS * np.array([[-1], [1], [1]])
    for intrinsics in (mirrored, INTRINSICS.T, np.full((3, 3), np.nan)):
        with pytest.raises(UserError, match="the intrinsics"):
            renderer.render(intrinsics, np.eye(4), SIZE)
    for pose in (2 * np.eye(4), np.full((4, 4), np.inf)):
        with pytest.raises(UserError, match="world_to_cam"):
            renderer.render(INTRINSICS, pose, SIZE)
    with pytest.raises(UserError, match="the size"):
        renderer.render(INTRINSICS, np.eye(4), (0, 5))
    for far in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="the far limit"):
            renderer.render(INTRINSICS, np.eye(4), SIZE, far=far)


def test_skew_is_not_ignored_by_pyrender(pyrender_renderer):
    pyrender_renderer.load(trapezium())
    skewed = INTRINSICS + np.array([[0, 0.5, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(UserError, match=r"skew of 0\.5.*RaycastRenderer"):
        pyrender_renderer.render(skewed, np.eye(4), SIZE)


def test_pyrender_leaves_the_environment_as_it_was(pyrender_renderer):
    before = dict(os.environ)
    pyrender_renderer.load(trapezium())
    pyrender_renderer.render(INTRINSICS, np.eye(4), SIZE)
    assert dict(os.environ) == before


def test_without_a_context_the_package_and_the_other_renderer_are_named(tmp_path):
    code = (
        "import os, numpy as np; from toolbox.errors import UserError; from toolbox.registry import RENDERERS\n"
        "triangle = np.eye(3), np.array([[0, 1, 2]])\n"
        "RENDERERS.build(dict(type='RaycastRenderer')).load(triangle)\n"
        "for device in ({}, {'EGL_DEVICE_ID': '99'}):\n"
        "    os.environ.update(device)\n"
        "    try: RENDERERS.build(dict(type='PyrenderRenderer')).load(triangle)\n"
        "    except UserError as error: print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "EGL_DEVICE_ID")}
    environment["__EGL_VENDOR_LIBRARY_DIRS"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == 2
    for message, reason in zip(messages, ("libEGL finds no device", "egl 99: ValueError"), strict=True):
        assert f"cannot make an OpenGL context without a display ({reason}" in message
        assert "libegl1, libegl-mesa0 and libgl1-mesa-dri" in message
        assert "RaycastRenderer" in message


def test_importing_the_room_imports_no_opengl():
    code = "import sys, toolbox.rendering; print([m for m in sys.modules if m in ('OpenGL', 'pyrender', 'open3d')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
