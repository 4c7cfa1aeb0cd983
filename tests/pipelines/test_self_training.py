"""The whole loop on a tiny scene: what it writes, that it resumes exactly, and that ground truth has no part in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from toolbox.datasets.synthetic import render_tabletop
from toolbox.engine import load_checkpoint_file
from toolbox.errors import UserError
from toolbox.io import read_image, read_pfm, write_image, write_json, write_pfm
from toolbox.pipelines import self_train

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
scene = {scene!r}
default_scope = "toolbox"
model = dict(
    type="MultiViewStereo",
    num_levels=2,
    backbone=dict(type="PyramidFeatures", channels=(4, 4, 4, 4, 4, 4)),
    head=dict(
        type="CostVolumePyramid",
        coarse_hypotheses=dict(type="UniformInverseDepth", num=8),
        fine_hypotheses=dict(type="PixelInterval", num=4, pixels=1.0),
        aggregator=dict(type="Variance"),
        regularizer=dict(type="HourglassRegularizer", channels=(4, 4, 4), norm="group"),
    ),
    losses=dict(photo=dict(type="ViewSynthesisLoss", errors=dict(l1=0.5, gradient=0.5), k=1)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="MVSDataset",
        scenes=[dict(type="FolderScene", root=scene)],
        num_sources=2,
        size=(48, 64),
        read_depth=False,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="MVSDataset", scenes=[dict(type="FolderScene", root=scene)], num_sources=2, size=(48, 64)),
)
test_evaluator = dict(type="DepthMetric", thresholds=(8.0,), unit="mm")
test_cfg = dict()
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=4)
default_hooks = dict(
    seed=dict(type="PositionSeedHook"), checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2)
)
log_processor = dict(by_epoch=False)
visualizer = None
randomness = dict(seed=3)
self_training = dict(
    iterations=2,
    inference=dict(
        num_levels=2,
        num_sources=3,
        recipe=dict(
            num_sources=4,
            min_confidence=0.0,
            max_reprojection_px=50.0,
            max_relative_depth=1.0,
            min_views=1,
            poisson_depth=5,
            trim_distance=1000.0,
        ),
    ),
    poses=dict(steps=12),
    labels=dict(source="both"),
    training=dict(
        model=dict(losses=dict(_delete_=True, label=dict(type="SupervisedDepthLoss", planes=8))),
        train_cfg=dict(max_iters=3),
    ),
)
"""


@pytest.fixture(autouse=True)
def unformatted_configs(monkeypatch) -> None:
    """Configs are stored as they are: pretty-printing them takes most of the time of a tiny run."""
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, False))


# Runs the loop in a process that is killed after so many files were put in place.
KILLED = """
import os, pathlib, signal, sys
from mmengine.config import Config
from toolbox.pipelines import self_train

replace, left = os.replace, int(sys.argv[3])

def counted(*args, **kwargs):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*args, **kwargs)

os.replace = counted
if hasattr(pathlib, "_NormalAccessor"):  # Python 3.10 looks it up only once
    pathlib._NormalAccessor.replace = staticmethod(counted)
self_train(Config.fromfile(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> dict[str, Path]:
    """A posed folder of a procedural tabletop with depth, and the same without."""
    tabletop = render_tabletop(seed=5, views=5, size=(96, 128))
    roots = {}
    for kind in ("with_depth", "without_depth"):
        root = roots[kind] = tmp_path_factory.mktemp(kind) / "tabletop"
        views = []
        for i, (image, depth) in enumerate(zip(tabletop.images, tabletop.depths, strict=True)):
            write_image(root / f"{i}.png", image)
            view = {
                "image": f"{i}.png",
                "intrinsics": tabletop.intrinsics[i].tolist(),
                "world_to_cam": tabletop.world_to_cam[i].tolist(),
                "depth_range": [425.0, 935.0],
            }
            if kind == "with_depth":
                write_pfm(root / f"{i}.pfm", depth)
                view["depth"] = f"{i}.pfm"
            views.append(view)
        write_json(root / "cameras.json", {"unit": "mm", "views": views})
    return roots


def load(scene: Path, folder: Path, **changes: object) -> Config:
    path = folder / "config.py"
    path.write_text(CONFIG.replace("{scene!r}", repr(str(scene))))
    config = Config.fromfile(path)
    config.merge_from_dict(changes)
    return config


def results(work: Path) -> dict[str, bytes]:
    """Pseudo depth and refined poses of all iterations, and the last weights."""
    files = [
        path for kind in ("labels/[0-9]*.pfm", "poses.json") for path in sorted(work.glob(f"iteration_*/**/{kind}"))
    ]
    found = {str(path.relative_to(work)): path.read_bytes() for path in files}
    weights = load_checkpoint_file(work / "iteration_2" / "checkpoint.pth")["state_dict"]
    return found | {name: tensor.numpy().tobytes() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def finished(captures, tmp_path_factory) -> tuple[Path, dict]:
    """An uninterrupted run of two iterations."""
    work = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, False))
        return work / "run", self_train(load(captures["with_depth"], work), work / "run")


def test_what_a_run_leaves(finished):
    work, report = finished
    assert json.loads((work / "report.json").read_text())["iterations"][2]["iteration"] == 2
    start, first, second = report["iterations"]
    for row in (start, first, second):
        assert row["evaluation"]["depth/abs_rel"] > 0
        assert Path(row["checkpoint"]).exists()
    labels = second["labels"]["tabletop"]
    assert 0.5 < labels["coverage"] <= 1 and 0 <= labels["agreement"] <= 1
    assert labels["label_abs_rel"] > 0 and labels["label_photometric"] > 0 and labels["depth_photometric"] > 0
    assert "agreement" not in first["labels"]["tabletop"]
    for row in (first, second):
        poses = row["labels"]["tabletop"]["poses"]
        assert poses["views"] == 5 and 0 < poses["turned_degrees"] < 1 and poses["error_after"] < poses["error_before"]
        assert row["evaluation"]["depth/abs_rel, refined poses"] != row["evaluation"]["depth/abs_rel"]
    assert "depth/abs_rel, refined poses" not in start["evaluation"]
    text = (work / "report.md").read_text()
    assert "| start |" in text and "| 2 |" in text and "labelled" in text
    for number in (1, 2):
        folder = work / f"iteration_{number}"
        assert len(list((folder / "scenes/tabletop/labels").glob("*.pfm"))) == 5
        for picture in ("tabletop.png", "tabletop_mesh.png"):
            assert read_image(folder / "pictures" / picture).std() > 5


def test_killed_anywhere_it_ends_in_the_same(finished, captures, tmp_path: Path):
    load(captures["with_depth"], tmp_path)
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, tmp_path / "killed.py", tmp_path / "config.py", tmp_path / "run", "31"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = []
    while not runs or (runs[-1].returncode == -signal.SIGKILL and len(runs) < 20):
        runs.append(subprocess.run(command, capture_output=True, text=True, check=False, env=environment))
    assert runs[-1].returncode == 0, runs[-1].stdout + runs[-1].stderr
    assert len(runs) > 3, "it was killed in several places"
    assert results(tmp_path / "run") == results(finished[0])


def test_ground_truth_has_no_part_in_it(finished, captures, tmp_path: Path):
    report = self_train(load(captures["without_depth"], tmp_path), tmp_path / "run")
    assert results(tmp_path / "run") == results(finished[0])
    assert all(row["evaluation"] == {} for row in report["iterations"])
    assert not any("abs_rel" in name for name in report["iterations"][1]["labels"]["tabletop"])


def test_only_what_depends_on_a_change_is_done_again(finished, captures, tmp_path: Path):
    work = tmp_path / "run"
    shutil.copytree(finished[0], work)
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.suffix in (".pfm", ".ply", ".pth")}

    def changed() -> set[str]:
        now = {path: path.stat().st_mtime_ns for path in before if path.exists()}
        parts = {path.relative_to(work).parts for path in before if now.get(path) != before[path]}
        return {
            "/".join((p[0], "training" if "training" in p else p[-2] if p[-1][0].isdigit() else p[-1])) for p in parts
        }

    self_train(load(captures["with_depth"], tmp_path), work)
    assert changed() == set()
    self_train(load(captures["with_depth"], tmp_path), work, iterations=1)
    assert changed() == set()
    self_train(load(captures["with_depth"], tmp_path, self_training={"labels": {"source": "mesh"}}), work, iterations=1)
    assert changed() == {"iteration_1/labels", "iteration_1/training", "iteration_1/checkpoint.pth"}


def test_poses_may_stay_as_they_are_given(captures, tmp_path: Path):
    config = load(captures["with_depth"], tmp_path, self_training={"poses": None})
    report = self_train(config, tmp_path / "run", iterations=1)
    assert report["iterations"][1]["labels"]["tabletop"]["poses"] == {}
    assert not [name for name in report["iterations"][1]["evaluation"] if "refined" in name]
    assert not list((tmp_path / "run").rglob("poses.json"))


def test_executors_give_the_same_labels(finished, captures, tmp_path: Path):
    self_train(load(captures["with_depth"], tmp_path), tmp_path / "run", executor="process", iterations=1)
    for number in range(5):
        path = Path("iteration_1/scenes/tabletop/labels") / f"{number:08d}.pfm"
        own, other = read_pfm(finished[0] / path), read_pfm(tmp_path / "run" / path)
        # Another number of threads rounds differently, and a pixel at a threshold may fall to the other side.
        assert np.isclose(own, other, rtol=5e-3).mean() > 0.93


def test_mistakes_are_named(captures, tmp_path: Path):
    config = load(captures["with_depth"], tmp_path, self_training={"labels": {"source": "cloud"}})
    with pytest.raises(UserError, match="'mesh', 'consistency' or 'both'"):
        self_train(config, tmp_path / "run")
    config = load(captures["with_depth"], tmp_path, self_training={"iteration": 3})
    with pytest.raises(UserError, match="no option 'iteration'"):
        self_train(config, tmp_path / "run")
    config = load(captures["with_depth"], tmp_path, self_training={"poses": {"speed": 3}})
    with pytest.raises(UserError, match="no option 'speed'"):
        self_train(config, tmp_path / "run")
    config = load(captures["with_depth"], tmp_path, self_training={"label_scenes": []})
    with pytest.raises(UserError, match="no scene for tabletop"):
        self_train(config, tmp_path / "run")
    del config._cfg_dict["self_training"]
    with pytest.raises(UserError, match="no 'self_training'"):
        self_train(config, tmp_path / "run")
