from pathlib import Path

import numpy as np
import pytest
import torch

from toolbox.datasets.fragments.published_images import load_view_stretched
from toolbox.io import write_image, write_pfm
from toolbox.structures import View


def make_view(folder: Path, intrinsics: np.ndarray, size: tuple[int, int]) -> View:
    image = np.random.default_rng(0).integers(1, 255, (*size, 3), dtype=np.uint8)
    write_image(folder / "a.png", image)
    write_pfm(folder / "a.pfm", np.linspace(1, 2, size[0], dtype=np.float32)[:, None].repeat(size[1], 1))
    return View(0, folder / "a.png", size, intrinsics, np.eye(4), folder / "a.pfm")


def test_published_intrinsics(shared, tmp_path):
    golden = torch.load(shared / "golden/msr/transforms.pt", weights_only=True)
    view = make_view(tmp_path, golden["resize_K_in"].double().numpy(), (968, 1296))
    loaded = load_view_stretched(view, (480, 640), with_depth=True)
    assert loaded.image.shape == (3, *golden["resize_img_out_shape"][:2].tolist())
    torch.testing.assert_close(loaded.intrinsics.float(), golden["resize_K_out"], rtol=1e-6, atol=1e-4)
    assert loaded.depth.shape == (480, 640)
    assert (loaded.depth[0] == 0).all()  # within the padding
    assert loaded.depth[240].mean() == pytest.approx(1.5, abs=0.002)


def test_other_sizes_are_stretched_only(tmp_path):
    view = make_view(tmp_path, np.array([[50.0, 0, 31], [0, 52, 25], [0, 0, 1]]), (48, 64))
    loaded = load_view_stretched(view, (24, 48))
    expected = torch.tensor([[37.5, 0, 23.25], [0, 26, 12.5], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(loaded.intrinsics, expected)
    assert loaded.image.shape == (3, 24, 48)
    assert loaded.depth is None
    same = load_view_stretched(view)
    assert np.array_equal(same.image.numpy().transpose(1, 2, 0), view.image())
    assert torch.equal(same.intrinsics, torch.from_numpy(view.intrinsics))
