from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from toolbox.datasets import MVSDataset
from toolbox.errors import UserError
from toolbox.io import write_json, write_pair_txt
from toolbox.models.reconstructors import MultiViewPreprocessor
from toolbox.structures import Scene


@pytest.fixture
def dataset(tabletop_scene: Scene) -> MVSDataset:
    return MVSDataset(tabletop_scene, num_sources=2, size=(48, 64))


def test_sample(dataset, tabletop_scene):
    assert len(dataset) == len(tabletop_scene.views)
    sample = dataset[1]
    assert sample["images"].shape == (3, 3, 48, 64) and sample["images"].dtype == torch.uint8
    assert sample["intrinsics"].shape == (3, 3, 3) and sample["world_to_cam"].shape == (3, 4, 4)
    assert sample["depth"].shape == (48, 64) and (sample["depth"] > 0).any()
    np.testing.assert_allclose(sample["world_to_cam"][0], tabletop_scene.views[1].world_to_cam)
    assert 1 not in sample["meta"]["source_ids"].tolist()


def test_depth_files_are_not_opened_unless_asked_for(tabletop_scene):
    for view in tabletop_scene.views:
        Path(view.depth_path).unlink()
    sample = MVSDataset(tabletop_scene, read_depth=False)[0]
    assert sample["depth"] is None
    with pytest.raises(UserError, match="pfm"):
        MVSDataset(tabletop_scene)[0]


def test_extra_sources_vary(tabletop_scene):
    dataset = MVSDataset(tabletop_scene, num_sources=1, extra_sources=2)
    picked = Counter(dataset[0]["meta"]["source_ids"].item() for _ in range(40))
    assert len(picked) == 3


def test_given_depth_range(tabletop_scene):
    sample = MVSDataset(tabletop_scene, depth_range=(400.0, 1000.0))[0]
    assert sample["depth_range"].tolist() == [400, 1000]


def test_too_few_sources(tabletop_scene):
    with pytest.raises(UserError, match="source views"):
        MVSDataset(tabletop_scene, num_sources=len(tabletop_scene.views))


def test_transforms_and_batches(tabletop_scene):
    dataset = MVSDataset(tabletop_scene, size=(48, 64), transforms=[{"type": "ColourJitter"}])
    plain = MVSDataset(tabletop_scene, size=(48, 64))
    sample = dataset[0]
    assert sample["images"].dtype == torch.float32 and sample["images"].min() >= 0 and sample["images"].max() <= 1
    assert (sample["images"] - plain[0]["images"] / 255).abs().max() > 0.01
    batch = MultiViewPreprocessor()([dataset[0], {**dataset[1], "depth": None}])["batch"]
    assert batch.images.shape == (2, 3, 3, 48, 64)
    assert (batch.depth[0] > 0).any() and not batch.depth[1].any(), "a sample without depth is all unknown"
    assert MultiViewPreprocessor()([{**dataset[0], "depth": None}])["batch"].depth is None
    assert [m["view_id"] for m in batch.meta] == [0, 1]


def test_longer_side(tabletop_scene):
    dataset = MVSDataset(tabletop_scene, max_size=64)
    assert dataset.size == (48, 64) and dataset[0]["images"].shape == (3, 3, 48, 64)
    assert MVSDataset(tabletop_scene, max_size=500).size == (96, 128), "nothing is enlarged"
    with pytest.raises(UserError, match=r"both size=\(48, 64\) and max_size=64"):
        MVSDataset(tabletop_scene, size=(48, 64), max_size=64)


def test_scenes_of_different_shapes_have_no_common_longer_side(tabletop_scene):
    portrait = Scene("portrait", [replace(view, size=(128, 96)) for view in tabletop_scene.views])
    with pytest.raises(UserError, match=r"tabletop 48 x 64, portrait 64 x 48\)\. Give one size .*size=\(h"):
        MVSDataset([tabletop_scene, portrait], max_size=64)


@pytest.mark.parametrize("form", ["txt", "json", "json under a key"])
def test_a_pair_list_decides(form, tabletop_scene, tmp_path):
    pairs = {3: [4, 0, 1], 1: [2, 4, 0], 0: [2]}
    if form == "txt":
        path = tmp_path / "pair.txt"
        write_pair_txt(path, {ref: [(s, 1.0) for s in sources] for ref, sources in pairs.items()})
    else:
        path = tmp_path / "pairs.json"
        listed = {str(ref): sources for ref, sources in pairs.items()}
        write_json(path, listed if form == "json" else {"note": "best first", "pairs": listed})
    dataset = MVSDataset(tabletop_scene, num_sources=2, pairs=path)
    samples = [dataset[k]["meta"] for k in range(len(dataset))]
    assert [(meta["view_id"], meta["source_ids"].tolist()) for meta in samples] == [(3, [4, 0]), (1, [2, 4])]
    assert len(MVSDataset(tabletop_scene, num_sources=2, pairs=path, every=2)) == 1


def test_options_of_the_selection_reach_it(tabletop_scene):
    def first_sources(**options) -> list[int]:
        dataset = MVSDataset(tabletop_scene, num_sources=1, **options)
        return [dataset[k]["meta"]["source_ids"].item() for k in range(len(dataset))]

    assert first_sources() == first_sources(best_angle=5.0, spread=0.0) != first_sources(best_angle=20.0)
    with pytest.raises(UserError, match="spread=2"):
        MVSDataset(tabletop_scene, spread=2.0)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"0": [1, 17], "9": [2]}', "scene 'tabletop' lacks: 9, 17"),
        ('{"0": [1, 0]}', r"lists \[1, 0\] for 0"),
        ('{"0": [1, 1]}', r"lists \[1, 1\] for 0"),
        ('{"0": [1, 2.5]}', "'2.5' is no view id"),
        ("[1, 2]", "no list of pairs"),
        ("{", "cannot be read"),
    ],
)
def test_bad_pair_lists(content, fault, tabletop_scene, tmp_path):
    (tmp_path / "pairs.json").write_text(content)
    with pytest.raises(UserError, match=rf"pairs\.json: .*{fault}"):
        MVSDataset(tabletop_scene, pairs=tmp_path / "pairs.json")
