"""tools/reconstruct.py: from a folder with cameras to files, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from toolbox.apis import init_model
from toolbox.structures import Scene

ROOT = Path(__file__).resolve().parents[2]
SLIM = ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py"
# An untrained network is consistent with nothing: let everything through.
LOOSE = ("min_confidence=0", "max_relative_depth=1", "max_reprojection_px=1000", "min_views=1")


@pytest.fixture
def folder(tabletop_scene: Scene) -> Path:
    """The tabletop in the generic folder format."""
    root = tabletop_scene.views[0].image_path.parent
    views = [
        {
            "image": view.image_path.name,
            "intrinsics": view.intrinsics.tolist(),
            "world_to_cam": view.world_to_cam.tolist(),
            "depth": view.depth_path.name,
            "depth_range": list(view.depth_range),
        }
        for view in tabletop_scene.views
    ]
    (root / "cameras.json").write_text(json.dumps({"unit": "mm", "views": views}))
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "slim.pth"
    torch.save({"state_dict": init_model(SLIM, device="cpu").state_dict(), "meta": {}}, path)
    return path


@pytest.fixture
def reconstruct(run_tool, weights, tmp_path) -> Callable:
    def run(scene: Path, *options: str, checkpoint: Path = weights):
        fixed = ("--config", SLIM, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu")
        return run_tool("reconstruct", scene, *fixed, *options)

    return run


def change(folder: Path, edit: Callable[[dict], None]) -> None:
    """Edit the cameras file."""
    content = json.loads((folder / "cameras.json").read_text())
    edit(content)
    (folder / "cameras.json").write_text(json.dumps(content))


def test_files_and_summary(reconstruct, folder, tmp_path):
    change(folder, lambda c: c["views"][4]["world_to_cam"][0].__setitem__(3, float("inf")))
    ended = reconstruct(folder, "--evaluate", "--num-sources", "2", "--recipe", *LOOSE)
    assert ended.code == 0, ended.err
    assert "1 frames left out" in ended.out and "not finite" in ended.out
    out = tmp_path / "out"
    for pattern, count in (("depth/*.pfm", 4), ("depth/*.png", 4), ("confidence/*.pfm", 4), ("*.ply", 2)):
        assert len(list(out.glob(pattern))) == count, pattern
    summary = json.loads((out / "summary.json").read_text())
    assert summary["recipe"]["min_views"] == 1 and summary["num_sources"] == 2
    assert [frame["reason"] for frame in summary["left_out"]] == ["pose is not finite"]
    assert summary["depth_error"]["views"] == 4
    assert summary["fusion"]["recipe"] in ended.out, "the recipe stands beside the numbers"
    assert b"consistency" in (out / "cloud.ply").read_bytes()[:2000], "and in the output"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.update(views=[]), "cameras.json"),
        (lambda c: c["views"][1].update(depth_range=[900.0, 400.0]), "cameras.json"),
        (lambda c: c["views"][1].update(size=[48, 64]), "1.png"),
        (lambda c: c["views"][1]["intrinsics"].pop(), "cameras.json"),
    ],
    ids=["empty", "range", "sizes", "row"],
)
def test_bad_scenes_end_in_one_paragraph(reconstruct, folder, edit, words):
    change(folder, edit)
    ended = reconstruct(folder)
    assert ended.code == 2
    assert ended.err.count("error:") == 1 and words in ended.err and "Traceback" not in ended.err


def test_unreadable_image(reconstruct, folder):
    path = folder / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    ended = reconstruct(folder)
    assert ended.code == 2 and "3.png" in ended.err and "Traceback" not in ended.err


def test_truncated_depth(reconstruct, folder):
    path = folder / "3.pfm"
    path.write_bytes(path.read_bytes()[:200])
    ended = reconstruct(folder, "--evaluate", "--num-sources", "2", "--recipe", *LOOSE)
    assert ended.code == 2 and "3.pfm" in ended.err and "truncated" in ended.err


def test_checkpoint_of_another_architecture(reconstruct, folder, tmp_path):
    other = init_model(ROOT / "configs/mvsnet/mvsnet.py", device="cpu")
    torch.save({"state_dict": other.state_dict(), "meta": {}}, tmp_path / "mvsnet.pth")
    ended = reconstruct(folder, checkpoint=tmp_path / "mvsnet.pth")
    assert ended.code == 2 and "mvsnet.pth" in ended.err and "Traceback" not in ended.err


def test_given_depth_range(reconstruct, folder):
    ended = reconstruct(folder, "--depth-range", "900", "400")
    assert ended.code == 2 and "900" in ended.err
    ended = reconstruct(folder, "--recipe", "min_vews=2")
    assert ended.code == 2 and "min_views" in ended.err


def test_nothing_to_recognise(reconstruct, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = reconstruct(tmp_path / "empty")
    assert ended.code == 2 and "transforms.json" in ended.err
