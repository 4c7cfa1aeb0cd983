from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

import toolbox.datasets.fragments.dataset as module
from toolbox.datasets.fragments import (
    FragmentDataset,
    KeyframeRule,
    SceneOrderSampler,
    VolumeInfo,
    level_camera,
    select_fragments,
    write_fragments,
    write_volume,
)
from toolbox.errors import UserError
from toolbox.fusion import TSDFIntegrator
from toolbox.geometry import project, transform_points
from toolbox.registry import DATASETS
from toolbox.structures import View

RULE = {"views": 4}
WINDOW = {"shape": (24, 32, 16), "voxel_size": 0.08}
OPTIONS = {"window": WINDOW, "levels": 2, "size": None}


@pytest.fixture(scope="module")
def prepared(room, tmp_path_factory):
    """The room with volumes of 8 and 16 cm."""
    folder = tmp_path_factory.mktemp("prepared") / room.name
    origin, shape = torch.tensor([-1.28, -1.28, -0.64], dtype=torch.float64), (112, 112, 64)
    for level in range(2):
        integrator = TSDFIntegrator(origin, tuple(n >> level for n in shape), 0.08 * 2**level, max_depth=3.0)
        for view in room.views:
            depth, intrinsics = view.stored_depth()
            integrator.integrate(*map(torch.from_numpy, (depth, intrinsics, view.world_to_cam)))
        write_volume(folder / f"tsdf_{level}.npz", integrator.volume().tsdf)
    chosen = select_fragments(room, KeyframeRule(**RULE))
    write_fragments(folder, replace(chosen, volumes=VolumeInfo(tuple(origin.tolist()), 0.08, 2)))
    return folder


def test_samples_of_a_scene_without_preparation(room):
    dataset = DATASETS.build(
        {"type": "FragmentDataset", "scenes": room, "rule": RULE, "size": (24, 32), "read_depth": True}
    )
    assert dataset.scene_lengths == [len(dataset)]
    assert len(dataset) > 1
    sample = dataset[1]
    ids = sample["meta"]["view_ids"].tolist()
    assert ids == dataset.prepared[0].fragments[1]
    assert (sample["images"].shape, sample["images"].dtype) == ((4, 3, 24, 32), torch.uint8)
    assert (sample["intrinsics"].dtype, sample["world_to_cam"].dtype) == (torch.float64, torch.float64)
    assert sample["depth"].shape == (4, 24, 32)
    assert torch.equal(sample["world_to_aligned_camera"], level_camera(sample["world_to_cam"][2]))
    np.testing.assert_allclose(sample["world_to_cam"][2], room.view(ids[2]).world_to_cam, atol=1e-12)
    assert torch.equal(sample["window_origin"], sample["window"].double() * 0.04)
    assert "tsdf" not in sample
    assert [dataset[i]["meta"]["first"] for i in range(len(dataset))] == [True] + [False] * (len(dataset) - 1)
    assert [dataset[i]["meta"]["last"] for i in range(len(dataset))] == [False] * (len(dataset) - 1) + [True]


def test_depth_is_not_opened_unasked(room, monkeypatch):
    def refuse(view):
        raise AssertionError("depth was read")

    monkeypatch.setattr(View, "stored_depth", refuse)
    assert "depth" not in FragmentDataset(room, rule=RULE, size=(24, 32))[0]


def surface_distance(sample) -> torch.Tensor:
    """How far, in voxels, the depth of the views' pixels puts them from where the TSDF of level 0 crosses zero."""
    shape, voxel = torch.tensor(WINDOW["shape"]), WINDOW["voxel_size"]
    index = torch.nonzero(sample["tsdf"][0].abs() < 0.99)
    points = sample["window_origin"] + index * voxel
    assert (index < shape).all()
    values = sample["tsdf"][0][tuple(index.T)] * 3
    errors = []
    for depth, k, pose in zip(sample["depth"], sample["intrinsics"], sample["world_to_cam"], strict=True):
        pixels, z = project(transform_points(pose, points), k)
        x, y = torch.round(pixels).long().T
        inside = (z > 0.1) & (x >= 0) & (x < depth.shape[1]) & (y >= 0) & (y < depth.shape[0])
        measured = depth[y[inside], x[inside]]
        known = (measured > 0) & (measured < 3)
        errors.append(((measured - z[inside]) / voxel - values[inside])[known])
    return torch.cat(errors)


def test_truth_fits_the_cameras(prepared):
    sample = FragmentDataset(prepared=prepared, read_tsdf=True, read_depth=True, **OPTIONS)[1]
    assert [tuple(sample["tsdf"][level].shape) for level in (0, 1)] == [(24, 32, 16), (12, 16, 8)]
    assert [sample["occupancy"][level].dtype for level in (0, 1)] == [torch.bool, torch.bool]
    distance = surface_distance(sample)
    assert len(distance) > 1000
    assert distance.abs().median() < 0.5
    near = sample["tsdf"][0].abs() < 0.999
    occupied = sample["occupancy"][0]
    assert occupied.sum() > 100
    assert (occupied & near).sum() > 0.8 * occupied.sum()


def test_a_random_placement_moves_cameras_and_truth_alike(prepared):
    options = {"read_tsdf": True, "read_depth": True, **OPTIONS}
    still = FragmentDataset(prepared=prepared, **options)[1]
    placed = FragmentDataset(prepared=prepared, placement={"move_z": 0.1}, **options)
    sample = placed[1]
    assert not torch.allclose(sample["world_to_cam"], still["world_to_cam"], atol=0.1)
    torch.testing.assert_close(
        sample["world_to_cam"] @ torch.linalg.inv(sample["volume_to_scene"]), still["world_to_cam"]
    )
    distance = surface_distance(sample)
    assert len(distance) > 1000
    assert distance.abs().median() < 0.5
    occupied = [torch.sum(s["occupancy"][0]).item() for s in (still, sample)]
    assert occupied[1] == pytest.approx(occupied[0], rel=0.3)
    assert torch.equal(sample["images"], still["images"])


def test_fragments_of_a_scene_share_their_placement_in_an_epoch(prepared):
    dataset = FragmentDataset(prepared=prepared, placement={}, size=None)
    moves = [dataset[index]["volume_to_scene"] for index in ((0, 4), (1, 4), (1, 5), (0, 4), 0, 0)]
    assert torch.equal(moves[0], moves[1])
    assert torch.equal(moves[0], moves[3])
    assert not torch.allclose(moves[1], moves[2])
    assert not torch.allclose(moves[4], moves[5])
    elsewhere = FragmentDataset(prepared=prepared, placement={}, size=None, seed=1)
    assert not torch.allclose(elsewhere[0, 4]["volume_to_scene"], moves[0])


def test_a_data_loader_gives_scenes_in_order(prepared):
    dataset = FragmentDataset(prepared=prepared, placement={}, read_tsdf=True, **OPTIONS)
    sampler = SceneOrderSampler(dataset, seed=3)
    sampler.set_epoch(2)
    loader = DataLoader(dataset, batch_size=1, sampler=sampler, collate_fn=pseudo_collate)
    batches = list(loader)
    assert [batch["meta"]["fragment"] for batch in batches] == [[i] for i in range(len(dataset))]
    assert torch.equal(batches[0]["volume_to_scene"][0], batches[-1]["volume_to_scene"][0])
    assert batches[0]["tsdf"][1][0].shape == (12, 16, 8)


def test_stretched_images(prepared):
    options = {"prepared": prepared, "size": (24, 48), "read_depth": True}
    stretched, covered = FragmentDataset(**options, published_resize=True)[0], FragmentDataset(**options)[0]
    assert stretched["images"].shape == covered["images"].shape
    ratio = stretched["intrinsics"][0] / covered["intrinsics"][0]
    assert ratio[0, 0] == pytest.approx(1.0)
    assert ratio[1, 1] == pytest.approx(24 / 36)


def test_volumes_are_read_once_a_scene(prepared, monkeypatch):
    read = []
    volume = module.SceneFragments.volume
    monkeypatch.setattr(module.SceneFragments, "volume", lambda self, level: read.append(level) or volume(self, level))
    dataset = FragmentDataset(prepared=prepared, read_tsdf=True, **OPTIONS)
    assert [len(dataset[i]["tsdf"]) for i in range(2)] == [2, 2]
    assert read == [0, 1]


def test_scenes_by_name(prepared, room, tmp_path):
    for name in ("b", "a"):
        write_fragments(tmp_path / name, select_fragments(replace(room, name=name), KeyframeRule(**RULE)))
    (tmp_path / "train.txt").write_text("b\na\n")

    def names(**options) -> list[str]:
        return [scene.scene.name for scene in FragmentDataset(**options).prepared]

    assert names(prepared=tmp_path) == ["a", "b"]
    assert names(prepared=tmp_path, names=tmp_path / "train.txt") == ["b", "a"]
    assert names(prepared=[tmp_path / "b", prepared]) == ["b", room.name]
    with pytest.raises(UserError, match="lack the scenes c"):
        names(prepared=tmp_path, names=["a", "c"])
    with pytest.raises(UserError, match=r"test\.txt: cannot be read"):
        names(prepared=tmp_path, names=tmp_path / "test.txt")
    with pytest.raises(UserError, match=r"holds no fragments\.json"):
        names(prepared=tmp_path / "a" / "deeper")


def test_settings_that_do_not_fit(prepared, room, tmp_path):
    with pytest.raises(UserError, match="either scenes or prepared"):
        FragmentDataset()
    with pytest.raises(UserError, match="either scenes or prepared"):
        FragmentDataset(room, prepared)
    with pytest.raises(UserError, match="has no TSDF volumes"):
        FragmentDataset(room, rule=RULE, read_tsdf=True)
    with pytest.raises(UserError, match=r"has 2 volumes from 0\.08 m, not 3 from 0\.04 m"):
        FragmentDataset(prepared=prepared, read_tsdf=True)
    mixed = replace(room, views=[replace(v, size=(1, 1)) if v.id == 0 else v for v in room.views])
    with pytest.raises(UserError, match="48 x 64 pixels where its camera is for 1 x 1"):
        FragmentDataset(mixed, rule=RULE, size=None)[0]
