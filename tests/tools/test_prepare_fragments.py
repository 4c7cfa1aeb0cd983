"""tools/prepare_fragments.py as the user runs it."""

from pathlib import Path

import pytest

from toolbox.datasets.fragments import read_fragments
from toolbox.datasets.synthetic import make_scannet_scenes


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=12, seed=4, size=(48, 64), workers=1)
    return root / "scene0000_00"


def test_fragments_and_volumes(run_tool, room, tmp_path):
    (room / "pose" / "3.txt").rename(tmp_path / "3.txt")
    try:
        ended = run_tool("prepare_fragments", room, "--out", tmp_path, "--views", 4, "--voxel-size", 0.08)
    finally:
        (tmp_path / "3.txt").rename(room / "pose" / "3.txt")
    assert ended.code == 0, ended.err
    assert "of 11 frames, 3 volumes" in ended.out
    assert "left out 3.jpg: pose is missing" in ended.out
    prepared = read_fragments(tmp_path / "scene0000_00")
    assert prepared.volumes.voxel_size == 0.08
    assert prepared.volume(2).ndim == 3


def test_fragments_only(run_tool, room, tmp_path):
    ended = run_tool("prepare_fragments", room, "--out", tmp_path, "--views", 4, "--no-tsdf", "--keep-rest")
    assert ended.code == 0, ended.err
    assert "no volumes" in ended.out
    assert read_fragments(tmp_path / "scene0000_00").volumes is None


def test_mistakes_are_named(run_tool, room, tmp_path):
    for arguments, fault in (
        ((room,), "a fragment needs 9"),
        ((room, room), "share the names scene0000_00"),
        ((tmp_path / "none",), "does not exist"),
        ((room, "--published", tmp_path), "fragments.pkl"),
    ):
        ended = run_tool("prepare_fragments", *arguments, "--out", tmp_path / "out", "--distance", 9, "--angle", 179)
        assert ended.code == 2
        assert fault in ended.err
        assert "Traceback" not in ended.err
