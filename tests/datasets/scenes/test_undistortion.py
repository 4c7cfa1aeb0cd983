"""Lens distortion is removed once, and what is left is the pinhole image."""

import cv2
import numpy as np
import pytest

from toolbox.datasets.scenes import ColmapScene, TransformsScene
from toolbox.datasets.scenes.undistortion import (
    Lens,
    fisheye_distortion,
    perspective_distortion,
    pinhole_intrinsics,
    undistortion_maps,
)
from toolbox.errors import UserError

K = np.array([[70.25, 0, 33.5], [0, 66.75, 21.25], [0, 0, 1]])
SIZE = (48, 64)


def rays(count: int = 50) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.4, 0.4, (count, 2))


def as_points(xy: np.ndarray) -> np.ndarray:
    return np.concatenate((xy, np.ones((len(xy), 1))), axis=1)[:, None]


def test_perspective_model_is_opencvs():
    k1, k2, k3, p1, p2 = 0.11, -0.07, 0.03, 0.004, -0.006
    ours = perspective_distortion(K, [k1, k2, k3, 0.0], [p1, p2])(rays())
    opencv = cv2.projectPoints(as_points(rays()), np.zeros(3), np.zeros(3), K, np.array([k1, k2, p1, p2, k3]))[0]
    np.testing.assert_allclose(ours, opencv[:, 0], atol=1e-10)


def test_fisheye_model_is_opencvs():
    k = [0.05, -0.02, 0.01, 0.003]
    opencv = cv2.fisheye.projectPoints(as_points(rays()), np.zeros(3), np.zeros(3), K, np.array(k))[0]
    np.testing.assert_allclose(fisheye_distortion(K, k)(rays()), opencv[:, 0], atol=1e-10)


def test_maps_are_opencvs():
    coefficients = np.array([0.11, -0.07, 0.004, -0.006])
    lens = Lens(K, SIZE, perspective_distortion(K, [0.11, -0.07, 0.0, 0.0], [0.004, -0.006]))
    target = pinhole_intrinsics(lens)
    expected = cv2.initUndistortRectifyMap(K, coefficients, None, target, SIZE[::-1], cv2.CV_32FC1)
    for ours, opencv in zip(undistortion_maps(lens, target), expected, strict=True):
        np.testing.assert_allclose(ours, opencv, atol=1e-4)


@pytest.mark.parametrize("k1", [-0.2, -0.02, 0.0, 0.05, 0.2])
def test_undistorted_image_is_full_and_as_wide_as_can_be(k1):
    lens = Lens(K, SIZE, perspective_distortion(K, [k1, 0.0, 0.0, 0.0], [0.0, 0.0]))
    target = pinhole_intrinsics(lens)
    x, y = undistortion_maps(lens, target)
    assert x.min() > -0.5 and y.min() > -0.5 and x.max() < SIZE[1] - 0.5 and y.max() < SIZE[0] - 0.5
    wider = target.copy()
    wider[:2, :2] *= 0.98
    x, y = undistortion_maps(lens, wider)
    assert x.min() < -0.5 or y.min() < -0.5 or x.max() > SIZE[1] - 0.5 or y.max() > SIZE[0] - 0.5
    np.testing.assert_array_equal(target[:2, 2], K[:2, 2])


def test_impossible_distortion_is_an_error():
    with pytest.raises(UserError, match="leaves no rectangle"):
        pinhole_intrinsics(Lens(K, SIZE, perspective_distortion(K, [0.0] * 4, [3.0, 0.0]), {"p": [3.0, 0.0]}))


def smooth_image(xy: np.ndarray) -> np.ndarray:
    """A colour for every direction (x, y, 1), smooth enough to be interpolated."""
    channels = [127 + 80 * np.sin(4 * xy[..., 0] + c) + 40 * np.cos(5 * xy[..., 1] - c) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def directions(intrinsics: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (np.stack((x, y), axis=-1) - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]]


def distorted_image(lens: Lens) -> np.ndarray:
    """What the lens sees of ``smooth_image``: the direction of every pixel found by fixed-point iteration."""
    pixels = np.stack(np.mgrid[: SIZE[0], : SIZE[1]][::-1], axis=-1).reshape(-1, 2).astype(float)
    xy = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
    for _ in range(200):
        xy -= 0.7 * (lens.distort(xy) - pixels) / K[[0, 1], [0, 1]]
    assert np.abs(lens.distort(xy) - pixels).max() < 1e-6
    return smooth_image(xy.reshape(*SIZE, 2))


@pytest.mark.parametrize("fisheye", [False, True])
def test_importers_give_the_pinhole_image(fisheye, truth, write, own_cache, tmp_path):
    k, p = [0.08, -0.03, 0.0, 0.0], [0.002, -0.003]
    bend = fisheye_distortion(K, k) if fisheye else perspective_distortion(K, k, p)
    truth.images = [distorted_image(Lens(K, SIZE, bend))] * 6
    extra = {"k1": k[0], "k2": k[1]}
    extra |= {"camera_model": "OPENCV_FISHEYE"} if fisheye else {"p1": p[0], "p2": p[1]}
    scenes = [TransformsScene(write.transforms(truth, tmp_path / "t", **extra))]
    if not fisheye:
        scenes.append(ColmapScene(write.colmap(truth, tmp_path / "c", distortion=(k[0], k[1], *p))))
    for scene in scenes:
        for view in scene.views:
            expected = smooth_image(directions(view.intrinsics)).astype(int)
            difference = np.abs(view.image() - expected)[1:-1, 1:-1]
            assert difference.max() <= 2, difference.max()
            assert own_cache in view.image_path.parents
    if not fisheye:
        # One lens, told by two formats.
        np.testing.assert_allclose(scenes[0].views[0].intrinsics, scenes[1].views[0].intrinsics, atol=1e-9)


def test_the_cache_is_reused_and_follows_its_source(truth, write, own_cache, edit_json, tmp_path):
    path = write.transforms(truth, tmp_path / "scene", k1=0.05)
    first = TransformsScene(path).views[0].image_path
    stamp = first.stat().st_mtime_ns
    (own_cache / first.parent.name / "000003_003.png").unlink()  # as if killed half-way
    again = TransformsScene(path)
    assert again.views[0].image_path == first and first.stat().st_mtime_ns == stamp
    assert all(view.image_path.is_file() for view in again.views)
    assert not list(own_cache.rglob(".*"))
    edit_json(path, lambda content: content.update(k1=0.06))
    assert TransformsScene(path).views[0].image_path != first
    elsewhere = TransformsScene(path, cache_dir=tmp_path / "other").views[0].image_path
    assert tmp_path / "other" in elsewhere.parents


def test_a_cache_that_cannot_be_written(truth, write, tmp_path):
    path = write.transforms(truth, tmp_path / "scene", k1=0.05)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*TOOLBOX_CACHE"):
        TransformsScene(path, cache_dir=tmp_path / "file" / "cache")
