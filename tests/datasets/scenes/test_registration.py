"""Depth of one camera rendered into another."""

import numpy as np

from toolbox.datasets.scenes import SevenScenes
from toolbox.datasets.scenes.registration import register_depth

DEPTH_K = np.array([[75.5, 0, 30.5], [0, 74.5, 25.0], [0, 0, 1]])
COLOUR_K = np.array([[70.25, 0, 33.5], [0, 66.75, 21.25], [0, 0, 1]])
OFFSET = np.eye(4)
OFFSET[:3, 3] = (-0.03, 0.01, 0.005)


def plane_depth(intrinsics: np.ndarray, to_plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """z-depth of the plane {X: n . X = 1} of the depth camera's frame, in the camera that ``to_plane`` takes there."""
    y, x = np.mgrid[: size[0], : size[1]]
    rays = np.stack((x, y, np.ones_like(x)), axis=-1) @ np.linalg.inv(intrinsics).T
    normal = np.array([0.1, -0.05, 0.5])
    return (1 - normal @ to_plane[:3, 3]) / (rays @ to_plane[:3, :3].T @ normal)


def test_a_slanted_plane_is_the_plane_seen_from_there():
    depth = plane_depth(DEPTH_K, np.eye(4), (48, 64))
    registered = register_depth(depth, DEPTH_K, OFFSET, COLOUR_K, (48, 64))
    expected = plane_depth(COLOUR_K, np.linalg.inv(OFFSET), (48, 64))
    known = registered > 0
    assert known.mean() > 0.7
    # Points are up to half a pixel off the pixel's centre.
    assert np.abs(registered - expected)[known].max() < 0.02
    unregistered = np.abs(depth - expected)[known].mean()
    assert np.abs(registered - expected)[known].mean() < 0.25 * unregistered


def test_the_nearer_surface_wins_and_unknown_stays_unknown():
    depth = np.full((48, 64), 3.0)
    depth[20:30, 20:40] = 1.0
    depth[:, 60:] = 0
    registered = register_depth(depth, COLOUR_K, OFFSET, COLOUR_K, (48, 64))
    assert set(np.unique(registered)) <= {0.0, 1.005, 3.005}
    # The near patch moves by f t / z = 2 px and hides what the background puts there.
    shift = round((70.25 * -0.03 + 33.5 * 0.0) / 1.005)
    assert (registered[22:28, 22 + shift : 38 + shift] == 1.005).all()
    assert registered[40, 63] == 0


def test_importer_gives_colour_cameras_and_registered_depth(truth, write, own_cache, tmp_path):
    """The stored depth shows a wall; the importer's depth is that wall in the colour camera."""
    wall = plane_depth(DEPTH_K, np.eye(4), (48, 64))
    truth.depths = [np.rint(wall * 1000).astype(np.uint16) for _ in truth.depths]
    truth.depths[1][10:14, 10:14] = 65535
    scene = SevenScenes(write.seven_scenes(truth, tmp_path / "seq"), **write.seven_scenes_calibration)
    expected = plane_depth(COLOUR_K, np.linalg.inv(OFFSET), (48, 64))
    for view in scene.views:
        depth = view.depth()
        assert own_cache in view.depth_path.parents
        assert (depth > 0).mean() > 0.7
        assert np.abs(depth - expected)[depth > 0].max() < 0.021
    assert scene.view(1).depth().max() < 10
    stamp = scene.view(0).depth_path.stat().st_mtime_ns
    again = SevenScenes(tmp_path / "seq", **write.seven_scenes_calibration)
    assert again.view(0).depth_path.stat().st_mtime_ns == stamp
    assert SevenScenes(tmp_path / "seq", depth=False, **write.seven_scenes_calibration).view(0).depth() is None
