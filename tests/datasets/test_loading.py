import dataclasses

import numpy as np
import pytest
import torch

from toolbox.datasets import load_view
from toolbox.errors import UserError
from toolbox.geometry import project, transform_points, unproject
from toolbox.io import write_image, write_pfm
from toolbox.structures import View

INTRINSICS = np.array([[61.0, 0, 33.2], [0, 57.0, 20.4], [0, 0, 1]])


@pytest.fixture
def view(tmp_path) -> View:
    """44 x 70 pixels: a plane with a bright square, and its depth with a hole."""
    image = np.full((44, 70, 3), 40, np.uint8)
    image[16:28, 30:42] = 230
    rows, columns = np.mgrid[:44, :70].astype(np.float32)
    depth = 2 + 0.01 * columns + 0.005 * rows
    depth[:6, :9] = 0
    write_image(tmp_path / "0.png", image)
    write_pfm(tmp_path / "0.pfm", depth)
    return View(0, tmp_path / "0.png", (44, 70), INTRINSICS, np.eye(4), depth_path=tmp_path / "0.pfm")


def test_as_stored(view):
    loaded = load_view(view, with_depth=True)
    assert loaded.image.shape == (3, 44, 70) and loaded.depth.shape == (44, 70)
    np.testing.assert_array_equal(loaded.intrinsics, INTRINSICS)
    assert load_view(view).depth is None


@pytest.mark.parametrize("size", [(22, 35), (20, 40), (33, 30), (88, 140)])
def test_resized_pixels_see_the_same_points(view, size):
    """Cover and crop keep the aspect; the centre of the square stays where its point projects to."""
    stored, loaded = load_view(view), load_view(view, size, with_depth=True)
    assert loaded.image.shape[1:] == size

    def square_centre(image: torch.Tensor) -> torch.Tensor:
        weight = (image[0].double() - 40).clamp(min=0)
        rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in image.shape[1:]), indexing="ij")
        return torch.stack(((weight * columns).sum(), (weight * rows).sum())) / weight.sum()

    ray = torch.linalg.inv(stored.intrinsics) @ torch.cat((square_centre(stored.image), torch.ones(1).double()))
    expected, _ = project(ray[None], loaded.intrinsics)
    assert (square_centre(loaded.image) - expected[0]).abs().max() < 0.1


def test_depth_lies_on_the_surface_it_was_stored_for(view):
    loaded = load_view(view, (22, 35), with_depth=True)
    points = unproject(loaded.depth.double(), loaded.intrinsics).reshape(-1, 3)
    xy, _ = project(transform_points(torch.eye(4).double(), points), torch.from_numpy(INTRINSICS))
    expected = 2 + 0.01 * xy[:, 0] + 0.005 * xy[:, 1]
    known = loaded.depth.reshape(-1) > 0
    assert known.any() and not known.all()
    assert (expected - points[:, 2])[known].abs().max() < 0.012, "nearest pixel: at most one pixel's slope away"


def test_another_size_than_stated(view):
    with pytest.raises(UserError, match=r"0\.png.*44 x 70.*48 x 70"):
        load_view(dataclasses.replace(view, size=(48, 70)))
