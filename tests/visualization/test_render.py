import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.io import write_ply
from toolbox.visualization import look_at, overview_camera, render_cloud, render_mesh

K = np.array([[90.0, 0, 33.0], [0, 80.0, 20.0], [0, 0, 1]])
SIZE = (48, 64)


def square(z, half, rgb, facing_camera=True):
    """A square at depth z, facing a camera at the origin that looks along +z (counter-clockwise for it)."""
    vertices = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float64)
    triangles = np.array([[0, 2, 1], [0, 3, 2]])
    return vertices, triangles if facing_camera else triangles[:, ::-1].copy(), np.tile(np.uint8(rgb), (4, 1))


def joined(*meshes):
    offsets = np.cumsum([0, *(len(m[0]) for m in meshes[:-1])])
    triangles = np.concatenate([m[1] + offset for m, offset in zip(meshes, offsets, strict=True)])
    return np.concatenate([m[0] for m in meshes]), triangles, np.concatenate([m[2] for m in meshes])


def test_square_covers_the_pixels_that_project_into_it():
    picture = render_mesh(square(2.0, 0.3, (200, 50, 10)), K, np.eye(4), SIZE, shading="colour", background=(1, 2, 3))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = (np.abs((x - 33) / 90 * 2) < 0.3) & (np.abs((y - 20) / 80 * 2) < 0.3)
    border = np.isclose(np.abs((x - 33) / 90 * 2), 0.3) | np.isclose(np.abs((y - 20) / 80 * 2), 0.3)
    assert (picture[inside & ~border] == (200, 50, 10)).all()
    assert (picture[~inside & ~border] == (1, 2, 3)).all()


def test_vertex_colours_are_interpolated():
    vertices, triangles, _ = square(1.0, 1.0, (0, 0, 0))
    rgb = np.array([[0, 0, 0], [200, 0, 0], [200, 100, 0], [0, 100, 0]], np.uint8)
    picture = render_mesh((vertices, triangles, rgb), K, np.eye(4), SIZE, shading="colour")
    x, y = 50, 30
    expected = [((x - 33) / 90 + 1) / 2 * 200, ((y - 20) / 80 + 1) / 2 * 100, 0]
    np.testing.assert_allclose(picture[y, x], expected, atol=1)


def test_camera_pose_and_light():
    world_to_cam = look_at(np.array([0.0, 0, 2]), np.zeros(3), np.array([0, -1.0, 0]))
    mesh = square(0.0, 0.2, (200, 200, 200))
    front = render_mesh(mesh, K, world_to_cam, SIZE)
    tilted = render_mesh(mesh, K, look_at(np.array([1.7, 0, 1]), np.zeros(3), np.array([0, -1.0, 0])), SIZE)
    assert front[20, 33, 0] == pytest.approx(200, abs=2)
    assert 100 < tilted[20, 33, 0] < 160
    grey = render_mesh(mesh, K, world_to_cam, SIZE, shading="shape")
    assert len(set(grey[20, 33].tolist())) == 1


def test_back_faces_can_be_looked_through():
    wall = square(1.0, 0.5, (250, 0, 0), facing_camera=False)
    room = joined(wall, square(2.0, 1.5, (0, 250, 0)))
    closed = render_mesh(room, K, np.eye(4), SIZE, shading="colour")
    opened = render_mesh(room, K, np.eye(4), SIZE, shading="colour", cull_back=True)
    assert closed[20, 33].tolist() == [250, 0, 0]
    assert opened[20, 33].tolist() == [0, 250, 0]
    assert (render_mesh(wall, K, np.eye(4), SIZE, cull_back=True) == 255).all()


def test_supersampling_softens_edges_only():
    mesh = square(2.0, 0.31, (0, 0, 0))
    picture = render_mesh(mesh, K, np.eye(4), SIZE, shading="colour", supersample=4)
    values = picture[..., 0]
    assert {0, 255} < set(values.ravel().tolist())
    assert 0 < ((values > 0) & (values < 255)).sum() < 120


def test_points_are_discs_and_the_nearest_is_in_front():
    points = np.array([[0, 0, 2.0], [0, 0, 1.0], [0.2, 0.1, 1.0], [0, 0, -1.0], [1e9, 0, 1e-6]])
    rgb = np.array([[9, 9, 9], [250, 0, 0], [0, 250, 0], [1, 1, 1], [2, 2, 2]], np.uint8)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        picture = render_cloud((points[order], rgb[order]), K, np.eye(4), SIZE, radius_px=1)
        assert picture[20, 33].tolist() == [250, 0, 0]
        assert picture[28, 51].tolist() == [0, 250, 0]
        assert (picture != 255).any(-1).sum() == 10, "two discs of five pixels"
    single = render_cloud((points, rgb), K, np.eye(4), SIZE, radius_px=0)
    assert (single != 255).any(-1).sum() == 2


def test_files_are_read_and_faults_named(tmp_path):
    vertices, triangles, rgb = square(2.0, 0.29, (200, 50, 10))
    write_ply(tmp_path / "mesh.ply", vertices, rgb, triangles=triangles)
    write_ply(tmp_path / "cloud.ply", vertices, rgb)
    from_file = render_mesh(tmp_path / "mesh.ply", K, np.eye(4), SIZE)
    assert np.array_equal(from_file, render_mesh((vertices, triangles, rgb), K, np.eye(4), SIZE))
    from_file = render_cloud(tmp_path / "cloud.ply", K, np.eye(4), SIZE)
    assert np.array_equal(from_file, render_cloud((vertices, rgb), K, np.eye(4), SIZE))
    for render in (render_mesh, render_cloud):
        with pytest.raises(UserError, match=r"none\.ply.*does not exist"):
            render(tmp_path / "none.ply", K, np.eye(4), SIZE)
    with pytest.raises(UserError, match=r"cloud\.ply.*holds no triangles"):
        render_mesh(tmp_path / "cloud.ply", K, np.eye(4), SIZE)


def test_look_at():
    eye, target, up = np.array([1.0, 2, 3]), np.array([4.0, -1, 5]), np.array([0, 0, 1.0])
    world_to_cam = look_at(eye, target, up)
    np.testing.assert_allclose(world_to_cam[:3, :3] @ world_to_cam[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(world_to_cam[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(world_to_cam @ [*eye, 1], [0, 0, 0, 1], atol=1e-12)
    in_camera = world_to_cam @ [*target, 1]
    np.testing.assert_allclose(in_camera[:3], [0, 0, np.linalg.norm(target - eye)], atol=1e-12)
    assert (world_to_cam[:3, :3] @ up)[1] < 0, "up is up in the picture (y points down)"
    with pytest.raises(ValueError, match="cannot look"):
        look_at(eye, eye, up)
    with pytest.raises(ValueError, match="along its up direction"):
        look_at(eye, eye + up, up)


@pytest.mark.parametrize("inward", [False, True])
def test_overview_shows_everything_and_fills_the_picture(inward):
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, -0.5, -2], [3, 0.5, 2], (4000, 3))
    centre, up = np.array([10.0, 20, 30]), np.array([0, -1.0, 0])
    points += centre
    if inward:
        around = [look_at(centre, centre + np.array([np.sin(a), 0, np.cos(a)]), up) for a in np.arange(8) * np.pi / 4]
    else:
        around = [look_at(centre + np.array([x, -1, -6]), centre, up) for x in (-1.0, 0, 1)]
    intrinsics, world_to_cam = overview_camera(np.array(around), points, SIZE)
    camera = points @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]
    pixels = camera @ intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = ((pixels > 0) & (pixels < np.array(SIZE[::-1]) - 1)).all(1)
    assert (camera[:, 2] > 0).all()
    assert inside.mean() > 0.93
    assert (np.ptp(pixels, axis=0) / np.array(SIZE[::-1])).max() > 0.85
    assert (world_to_cam[:3, :3] @ up)[1] < 0
