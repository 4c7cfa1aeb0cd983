"""What a run leaves behind beside checkpoints: metrics and pictures."""

import json

import cv2
import numpy as np
import torch

from toolbox.engine import depth_sheet
from toolbox.engine.metrics_file import jsonable


def test_a_validation_writes_metrics_and_pictures(tiny_config, train, tmp_path):
    pictures = {"type": "DepthPictureHook", "max_pictures": 3}
    train(tiny_config(False, **{"default_hooks.pictures": pictures, "train_cfg.val_interval": 2}))
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert written["run"]["iteration"] == 4
    assert written["run"]["split"] == "val"
    assert written["metrics"]["depth/abs_rel"] > 0
    (report,) = written["reports"]
    assert report["recipe"]["thresholds"] == [0.5]
    assert report["counts"]["images"] == len(report["images"]) == 4
    for iteration in (2, 4):
        pictures = sorted(path.name for path in (tmp_path / f"run/pictures/iter_{iteration:07d}").iterdir())
        assert pictures == ["noise_0.png", "noise_1.png", "noise_2.png"]
    assert cv2.imread(str(tmp_path / "run/pictures/iter_0000004/noise_2.png")) is not None


def test_undefined_numbers_become_null():
    values = {"a": float("nan"), "b": [1, np.float32(0.5), torch.tensor(2.0)], "c": (True, None, "x", -np.inf)}
    assert jsonable(values) == {"a": None, "b": [1, 0.5, 2.0], "c": [True, None, "x", None]}


def test_a_sheet_shows_what_there_is():
    depth = torch.linspace(1, 4, 12 * 20).reshape(12, 20)
    sample = {"depth": depth, "depth_range": torch.tensor([1.0, 4.0])}
    small = depth_sheet(sample)
    full = depth_sheet(
        sample
        | {
            "image": torch.rand(3, 12, 20),
            "gt_depth": depth * 1.05,
            "confidence": torch.ones(12, 20),
            "depth_levels": [depth, depth[::2, ::2]],
        }
    )
    assert small.dtype == full.dtype == np.uint8
    # Two rows of three pictures against one picture.
    assert full.shape[0] > 1.9 * small.shape[0]
    assert full.shape[1] > 2.9 * small.shape[1]
