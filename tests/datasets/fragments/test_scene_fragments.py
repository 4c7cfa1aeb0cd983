import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolbox.datasets.fragments import (
    KeyframeRule,
    VolumeInfo,
    read_fragments,
    read_volume,
    select_fragments,
    write_fragments,
    write_volume,
)
from toolbox.errors import UserError

RULE = KeyframeRule(views=4)


def test_selection_keeps_the_views_it_uses(room):
    prepared = select_fragments(room, RULE)
    assert [len(fragment) for fragment in prepared.fragments] == [4] * len(prepared.fragments)
    used = [i for fragment in prepared.fragments for i in fragment]
    assert [view.id for view in prepared.scene.views] == used
    assert used + prepared.rest == sorted({*used, *prepared.rest})
    assert prepared.frames == 30


def test_files_give_back_what_was_written(room, tmp_path):
    turned = np.eye(4)
    turned[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    prepared = select_fragments(room, RULE, turned)
    prepared = replace(prepared, volumes=VolumeInfo((0.32, -0.64, 1.28), 0.04, 3))
    write_fragments(tmp_path, prepared)
    again = read_fragments(tmp_path)
    assert again.fragments == prepared.fragments
    assert (again.rule, again.volumes, again.rest, again.frames) == (RULE, prepared.volumes, prepared.rest, 30)
    np.testing.assert_array_equal(again.world_to_volume, turned)
    assert (again.scene.name, again.scene.unit, again.scene.mesh_path) == (room.name, "m", room.mesh_path.resolve())
    for ours, theirs in zip(again.scene.views, prepared.scene.views, strict=True):
        np.testing.assert_array_equal(ours.world_to_cam, theirs.world_to_cam)
        np.testing.assert_array_equal(ours.intrinsics, theirs.intrinsics)
        np.testing.assert_array_equal(ours.image(), theirs.image())
        np.testing.assert_array_equal(ours.depth(), theirs.depth())


def test_paths_follow_the_root(room, tmp_path):
    write_fragments(tmp_path, select_fragments(room, RULE))
    content = json.loads((tmp_path / "fragments.json").read_text())
    content["root"] = "elsewhere"
    (tmp_path / "fragments.json").write_text(json.dumps(content))
    view = read_fragments(tmp_path).scene.views[0]
    assert view.image_path.as_posix().startswith("elsewhere/color/")
    assert view.depth_path.as_posix().startswith("elsewhere/depth/")


def test_scenes_that_cannot_be_used(room):
    with pytest.raises(UserError, match="has 30 keyframes among 30 frames, and a fragment needs 99"):
        select_fragments(room, KeyframeRule(views=99, min_distance=0.0, min_angle_degrees=0.0))
    with pytest.raises(UserError, match="measured in mm"):
        select_fragments(replace(room, unit="mm"), RULE)


def test_damaged_files(room, tmp_path):
    path = tmp_path / "fragments.json"
    with pytest.raises(UserError, match="cannot be read"):
        read_fragments(tmp_path)
    for text, fault in (("{", "cannot be read"), ("[]", "no file of the format"), ('{"format": "x"}', "no file of")):
        path.write_text(text)
        with pytest.raises(UserError, match=fault):
            read_fragments(tmp_path)
    write_fragments(tmp_path, select_fragments(room, RULE))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "fragments": [[1234]]}))
    with pytest.raises(UserError, match=r"views it does not describe: \[1234\]"):
        read_fragments(tmp_path)
    del content["views"][0]["intrinsics"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"malformed \(KeyError: 'intrinsics'"):
        read_fragments(tmp_path)


def test_volumes(tmp_path):
    tsdf = torch.rand(3, 4, 5)
    write_volume(tmp_path / "a.npz", tsdf)
    assert torch.equal(read_volume(tmp_path / "a.npz"), tsdf)
    np.savez(tmp_path / "theirs.npz", tsdf.numpy())
    assert torch.equal(read_volume(tmp_path / "theirs.npz"), tsdf)


def test_damaged_volumes(tmp_path):
    np.savez(tmp_path / "flat.npz", np.zeros((3, 4), np.float32))
    np.savez(tmp_path / "whole.npz", np.zeros((3, 4, 5), np.int64))
    np.savez(tmp_path / "objects.npz", np.array([{}], dtype=object))
    np.savez(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "flat.npz").read_bytes()[:40])
    for name in ("flat", "whole", "objects", "none", "cut", "absent"):
        with pytest.raises(UserError, match=f"{name}.npz"):
            read_volume(tmp_path / f"{name}.npz")
