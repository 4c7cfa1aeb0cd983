"""Superpixels: the published ones, computed once, kept on disk."""

import numpy as np
import pytest
import torch

from toolbox.datasets.transforms import Superpixels, felzenszwalb_segments, superpixels
from toolbox.errors import UserError
from toolbox.registry import TRANSFORMS


@pytest.fixture
def views() -> torch.Tensor:
    """Two images of three flat patches each, 40 x 52."""
    images = torch.full((2, 3, 40, 52), 30, dtype=torch.uint8)
    images[:, 0, :, 20:] = 200
    images[1, 1, 25:, :] = 180
    return images


def test_segments_are_the_published_ones(shared):
    golden = torch.load(shared / "golden/msr/losses.pt", weights_only=True)
    image = golden["imgs_small"][1].repeat_interleave(4, -1).repeat_interleave(4, -2)
    for level, segments in enumerate(felzenszwalb_segments(image)):
        assert torch.equal(segments, golden["segments"][str(2**level)][1].long())


def test_patches_are_found_at_every_level(views, tmp_path):
    sample = TRANSFORMS.build({"type": "Superpixels", "cache": tmp_path, "levels": 2})({"images": views, "other": 1})
    assert sample["other"] == 1 and torch.equal(sample["images"], views)
    assert [tuple(sample["segments"][level].shape) for level in (0, 1)] == [(2, 40, 52), (2, 20, 26)]
    for level, segments in sample["segments"].items():
        assert segments.dtype == torch.int64
        assert segments[0].unique().tolist() == [0, 1] and segments[1].unique().tolist() == [0, 1, 2, 3]
        assert (segments[0, :, : 18 >> level] != segments[0, 0, -1]).all()


def test_segments_are_computed_once(views, tmp_path, monkeypatch):
    first = Superpixels(cache=tmp_path)({"images": views})["segments"]
    calls = []
    compute = superpixels.felzenszwalb_segments
    monkeypatch.setattr(superpixels, "felzenszwalb_segments", lambda *a, **k: calls.append(1) or compute(*a, **k))
    again = Superpixels(cache=tmp_path)({"images": views.flip(0)})["segments"]
    assert not calls
    assert all(torch.equal(again[level], first[level].flip(0)) for level in range(3))
    Superpixels(cache=tmp_path, scale=20.0)({"images": views[:1]})
    changed = views[:1].clone()
    changed[0, 0, 0, 0] += 1
    Superpixels(cache=tmp_path)({"images": changed})
    assert len(calls) == 2


def test_a_damaged_file_is_made_anew(views, tmp_path):
    transform = Superpixels(cache=tmp_path)
    first = transform({"images": views[:1]})["segments"]
    (kept,) = tmp_path.rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    assert torch.equal(transform({"images": views[:1]})["segments"][0], first[0])
    with np.load(kept, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["level_0", "level_1", "level_2"]
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def test_changed_images_and_a_cache_that_cannot_be_are_named(views, tmp_path):
    with pytest.raises(UserError, match="Put it first"):
        Superpixels(cache=tmp_path)({"images": views.float() / 255})
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written"):
        Superpixels(cache=tmp_path / "file")({"images": views})
