"""Views and scenes: what is read when asked for, and on which grid."""

from pathlib import Path

import numpy as np
import pytest
import torch

from toolbox.errors import UserError
from toolbox.geometry import camera_centre
from toolbox.io import write_depth_png, write_image, write_pfm
from toolbox.structures import Scene, View

K = np.array([[61.0, 0, 5.25], [0, 55.0, 2.5], [0, 0, 1]])
POSE = np.array([[0.8, -0.6, 0, 1.0], [0.6, 0.8, 0, -2.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])


def view(folder: Path, **changes) -> View:
    return View(
        **{
            "id": 7,
            "image_path": folder / "image.png",
            "size": (6, 12),
            "intrinsics": K,
            "world_to_cam": POSE,
            **changes,
        }
    )


def test_the_image_is_read_when_asked_for(tmp_path):
    one = view(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        one.image()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 12, 3)).astype(np.uint8)
    write_image(tmp_path / "image.png", pixels)
    np.testing.assert_array_equal(one.image(), pixels)


def test_centre_is_where_the_camera_stands(tmp_path):
    centre = view(tmp_path).centre
    np.testing.assert_allclose(POSE @ np.append(centre, 1), [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(centre, camera_centre(torch.from_numpy(POSE)).numpy())


def test_no_depth_is_none(tmp_path):
    assert view(tmp_path).depth() is None
    assert view(tmp_path).stored_depth() is None


def test_pfm_depth_is_scaled_and_what_is_no_depth_is_unknown(tmp_path):
    stored = np.full((6, 12), 2.0, np.float32)
    stored[0, :4] = [np.nan, np.inf, -1, 0]
    write_pfm(tmp_path / "depth.pfm", stored)
    depth = view(tmp_path, depth_path=tmp_path / "depth.pfm", depth_scale=0.25).depth()
    assert depth.dtype == np.float32
    assert depth[0, :5].tolist() == [0, 0, 0, 0, 0.5]


def test_16_bit_depth_is_scaled_and_both_marks_are_unknown(tmp_path):
    stored = np.full((6, 12), 1250, np.uint16)
    stored[0, :2] = [0, 65535]
    write_depth_png(tmp_path / "depth.png", stored)
    depth = view(tmp_path, depth_path=tmp_path / "depth.png", depth_scale=0.001).depth()
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth[0, :3], [0, 0, 1.25], rtol=1e-6)


def test_depth_of_another_size_needs_its_intrinsics(tmp_path):
    write_pfm(tmp_path / "depth.pfm", np.ones((3, 6)))
    with pytest.raises(UserError, match=r"depth\.pfm: is 6 x 3 where its image is 12 x 6"):
        view(tmp_path, depth_path=tmp_path / "depth.pfm").depth()


def test_depth_of_another_size_is_sampled_onto_the_image(tmp_path):
    """Half the size, by areas: each stored pixel covers two by two of the image's; unknown ones stay unknown."""
    stored = np.arange(1, 19, dtype=np.float32).reshape(3, 6)
    stored[1, 2] = 0
    write_pfm(tmp_path / "depth.pfm", stored)
    half = np.array([[30.5, 0, (5.25 + 0.5) / 2 - 0.5], [0, 27.5, (2.5 + 0.5) / 2 - 0.5], [0, 0, 1]])
    one = view(tmp_path, depth_path=tmp_path / "depth.pfm", depth_intrinsics=half)
    np.testing.assert_array_equal(one.depth(), stored.repeat(2, axis=0).repeat(2, axis=1))
    depth, intrinsics = one.stored_depth()
    np.testing.assert_array_equal(depth, stored)
    np.testing.assert_array_equal(intrinsics, half)


def test_views_are_found_by_id_and_not_by_position(tmp_path):
    scene = Scene("kitchen", [view(tmp_path), view(tmp_path, id=3)])
    assert scene.view(3) is scene.views[1]
    with pytest.raises(KeyError, match="'kitchen' has no view 1"):
        scene.view(1)
