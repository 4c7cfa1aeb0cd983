"""tools/reconstruct.py with a volumetric network, from a folder with poses to a mesh."""

import json
import shutil
from collections.abc import Callable

import pytest
import torch
import trimesh

from toolbox.registry import MODELS


@pytest.fixture
def reconstruct(run_tool, tiny_volumetric, tmp_path) -> Callable:
    """An untrained network: its surface is somewhere."""
    settings = {"size": None, "keyframes": {"views": 4}}
    text = f"default_scope = 'toolbox'\nmodel = {tiny_volumetric!r}\nreconstruction = {settings!r}\n"
    (tmp_path / "volumetric.py").write_text(text)
    torch.save({"state_dict": MODELS.build(tiny_volumetric).state_dict(), "meta": {}}, tmp_path / "random.pth")
    fixed = ("--config", tmp_path / "volumetric.py", "--checkpoint", tmp_path / "random.pth", "--device", "cpu")
    return lambda scene, *options: run_tool("reconstruct", scene, *fixed, "--out", tmp_path / "out", *options)


def test_a_folder_becomes_a_mesh(reconstruct, room_folder, tmp_path):
    shutil.copytree(room_folder, tmp_path / "room")
    (tmp_path / "room/pose/4.txt").unlink()
    ended = reconstruct(
        tmp_path / "room", "--incremental", "--every", "2", "--settings", "keyframes.min_distance=0.08", "colours=False"
    )
    assert ended.code == 0, ended.err
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert len(trimesh.load(out / "mesh.ply").faces) == summary["mesh"]["triangles"] > 0
    assert len(list(out.glob("mesh_????.ply"))) == summary["fragments"] > 1
    assert summary["settings"]["keyframes"]["min_distance"] == 0.08 and summary["settings"]["keyframes"]["views"] == 4
    assert summary["frames"] == 15 and summary["settings"]["colours"] is False
    assert summary["left_out"] == [{"name": "4.jpg", "reason": "pose is missing"}]
    assert "left out 4.jpg: pose is missing" in ended.out
    assert f"{summary['fragments']} fragments" in ended.out and "1 m per unit (the scene's unit)" in ended.out
    assert f"{out}/mesh.ply" in ended.out and "cloud.ply" not in ended.out


def test_what_a_volumetric_network_cannot_do_ends_in_one_paragraph(reconstruct, room_folder, tmp_path):
    for options, words in (
        (("--num-sources", "4"), "setting 'num_sources'"),
        (("--recipe", "min_views=2"), "setting 'recipe'"),
        (("--settings", "keyframes.views=29"), "a fragment needs 29"),
    ):
        ended = reconstruct(room_folder, *options)
        assert ended.code == 2 and words in ended.err and "Traceback" not in ended.err
    shutil.copytree(room_folder, tmp_path / "posed", ignore=shutil.ignore_patterns("pose"))
    ended = reconstruct(tmp_path / "posed")
    assert ended.code == 2 and "color/ + pose/ + intrinsic/" in ended.err
    assert not (tmp_path / "out/mesh.ply").exists()
