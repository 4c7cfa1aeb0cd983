"""tools/train.py without ground truth: on the DTU layout, on an importer's scene, on a folder of posed photographs."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from toolbox.datasets.synthetic import Tabletop
from toolbox.engine import load_checkpoint_file
from toolbox.io import write_depth_png

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs/self_cvp_mvsnet"
# Where there is no ground truth there is nothing to validate with.
NO_VALIDATION = ("val_dataloader=None", "val_evaluator=None", "val_cfg=None")


def weights(run: Path, step: int = 2) -> dict[str, torch.Tensor]:
    return load_checkpoint_file(run / f"iter_{step}.pth")["state_dict"]


def assert_trained_alike(run: Path, other: Path) -> None:
    first, last = weights(run, 1), weights(run)
    assert any(not torch.equal(first[name], last[name]) for name in first), "nothing was learned"
    assert all(value.isfinite().all() for value in last.values())
    torch.testing.assert_close(weights(other), last, rtol=0, atol=0)


@pytest.fixture
def scannet(tabletop: Tabletop, tmp_path) -> Path:
    """The tabletop in ScanNet's folder layout, in metres, with depth."""
    root = tmp_path / "scannet"
    for name in ("color", "pose", "intrinsic", "depth"):
        (root / name).mkdir(parents=True)
    intrinsics = np.eye(4)
    intrinsics[:3, :3] = tabletop.intrinsics[0]
    for name in ("color", "depth"):
        np.savetxt(root / f"intrinsic/intrinsic_{name}.txt", intrinsics)
        np.savetxt(root / f"intrinsic/extrinsic_{name}.txt", np.eye(4))
    for i, (image, depth) in enumerate(zip(tabletop.images, tabletop.depths, strict=True)):
        cam_to_world = np.linalg.inv(tabletop.world_to_cam[i].astype(np.float64))
        cam_to_world[:3, 3] /= 1000
        np.savetxt(root / f"pose/{i}.txt", cam_to_world)
        cv2.imwrite(str(root / f"color/{i}.jpg"), np.ascontiguousarray(image[..., ::-1]))
        write_depth_png(root / f"depth/{i}.png", depth.round().astype(np.uint16))
    return root


def test_dtu_layout_with_and_without_its_depth(run_tool, slim, plane_dtu, tmp_path):
    config = CONFIGS / "unsup_slim.py"
    ended = run_tool("train", config, *slim())
    assert ended.code == 0, ended.err
    (tmp_path / "run").rename(tmp_path / "with")
    assert (tmp_path / "with/metrics.json").exists(), "evaluation reads the depth that is there"
    shutil.copytree(plane_dtu, tmp_path / "bare", ignore=shutil.ignore_patterns("Depths"))
    root = tmp_path / "bare"
    ended = run_tool("train", config, *slim(f"train_dataloader.dataset.scenes.root={root}", *NO_VALIDATION))
    assert ended.code == 0, ended.err
    assert_trained_alike(tmp_path / "with", tmp_path / "run")


def test_an_importers_scene_with_and_without_its_depth(run_tool, tiny, scannet, tmp_path):
    scene = f"train_dataloader.dataset.scenes.path={scannet}"
    for run in ("with", "without"):
        ended = run_tool(
            "train", CONFIGS / "unsup_slim_indoor.py", "--work-dir", tmp_path / run, "--cfg-options", *tiny(scene)
        )
        assert ended.code == 0, ended.err
        shutil.rmtree(scannet / "depth", ignore_errors=True)
    assert_trained_alike(tmp_path / "with", tmp_path / "without")


def test_posed_photographs_with_and_without_depth(run_tool, tiny, write_capture, tmp_path):
    for run, depth in (("with", True), ("without", False)):
        scene = f"train_dataloader.dataset.scenes.path={write_capture(f'photographs_{run}', depth)}"
        ended = run_tool(
            "train", CONFIGS / "own_capture.py", "--work-dir", tmp_path / run, "--cfg-options", *tiny(scene)
        )
        assert ended.code == 0, ended.err
    assert_trained_alike(tmp_path / "with", tmp_path / "without")
