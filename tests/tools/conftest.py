"""Tools run as the user runs them, on a data set of a textured plane in the DTU layout."""

import itertools
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from toolbox.io import CamFile, write_cam_txt, write_image, write_json, write_pair_txt, write_pfm

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 32, 48
_runs = itertools.count()


class Ended(NamedTuple):
    """How a tool ended: exit status, what it printed, what it complained about."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def unformatted_configs(monkeypatch) -> None:
    """Configs are stored as they are: pretty-printing them takes most of the time of a tiny run."""
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, False))


@pytest.fixture
def run_tool(monkeypatch, capfd) -> Callable[..., Ended]:
    """Run ``tools/NAME.py`` with arguments, in this process."""

    def run(name: str, *args: str | Path) -> Ended:
        path = ROOT / "tools" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, args)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
        return Ended(code, *capfd.readouterr())

    return run


def _write_view(root: Path, scan: int, view: int) -> None:
    """A view of the plane z = 600 + 0.2 x (mm), of a texture that is a smooth function of the place on it."""
    intrinsics = np.array([[60.0, 0, 24.5], [0, 58.0, 15.0], [0, 0, 1]])
    world_to_cam = np.eye(4)
    world_to_cam[:3, 3] = (-40.0 * view, 25.0 * (view % 2), 3.0 * view)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    rays = np.stack(((x - 24.5) / 60, (y - 15.0) / 58, np.ones_like(x)))
    centre = -world_to_cam[:3, 3]
    # centre_z + d = 600 + 0.2 (centre_x + d ray_x)
    depth = (600 - centre[2] + 0.2 * centre[0]) / (1 - 0.2 * rays[0])
    place = centre[:, None, None] + depth * rays
    phases = np.array([[0.05, 0.02], [0.03, 0.06], [0.09, 0.04]]) * (1 + 0.3 * scan)
    waves = np.sin(np.einsum("ck,khw->chw", phases, place[:2]))
    image = np.rint(127.5 + 100 * waves).astype(np.uint8).transpose(1, 2, 0)
    write_cam_txt(root / f"Cameras/{view:08d}_cam.txt", CamFile(world_to_cam, intrinsics, 425.0, 5.0, 100, 920.0))
    write_image(root / f"Rectified/scan{scan}_train/rect_{view + 1:03d}_3_r5000.png", np.ascontiguousarray(image))
    write_pfm(root / f"Depths/scan{scan}_train/depth_map_{view:04d}.pfm", depth.astype(np.float32))


@pytest.fixture(scope="session")
def plane_dtu(tmp_path_factory) -> Path:
    """Two scans of four views, one lighting."""
    root = tmp_path_factory.mktemp("plane_dtu")
    for scan in (1, 2):
        for view in range(4):
            _write_view(root, scan, view)
    write_pair_txt(root / "Cameras/pair.txt", {v: [(s, 1.0 / (1 + s)) for s in range(4) if s != v] for v in range(4)})
    return root


@pytest.fixture
def slim(plane_dtu, tmp_path) -> Callable[..., list[str]]:
    """Arguments that make the slim CVP-MVSNet a run of seconds: ``slim(*more_options)``."""

    def arguments(*more: str) -> list[str]:
        size = f"dataset.size=({HEIGHT},{WIDTH})"
        return [
            "--work-dir",
            str(tmp_path / "run"),
            "--cfg-options",
            f"experiment_name=tool_{next(_runs)}",
            f"train_dataloader.dataset.scenes.root={plane_dtu}",
            "train_dataloader.dataset.scenes.scans=[1]",
            f"train_dataloader.{size}",
            *(
                f"{split}_dataloader.dataset.{option}"
                for split in ("val", "test")
                for option in (
                    f"scenes.root={plane_dtu}",
                    "scenes.scans=[2]",
                    "num_sources=2",
                    f"size=({HEIGHT},{WIDTH})",
                )
            ),
            "train_dataloader.dataset.extra_sources=0",
            "model.backbone.channels=(4,4)",
            "model.test_num_levels=2",
            "model.head.coarse_hypotheses.num=8",
            "model.head.regularizer.channels=(4,8,8)",
            "train_cfg.max_iters=2",
            "train_cfg.val_interval=2",
            "default_hooks.checkpoint.interval=1",
            "log_level=WARNING",
            *more,
        ]

    return arguments


@pytest.fixture
def write_capture(tabletop, tmp_path) -> Callable[..., Path]:
    """Write the tabletop (mm) as a folder with cameras.json: ``write_capture(name, depth=False, ranges=True)``."""

    def write(name: str, depth: bool = False, ranges: bool = True) -> Path:
        root, views = tmp_path / name, []
        for i, image in enumerate(tabletop.images):
            write_image(root / f"{i}.png", image)
            cameras = {"intrinsics": tabletop.intrinsics[i].tolist(), "world_to_cam": tabletop.world_to_cam[i].tolist()}
            views.append({"image": f"{i}.png", **cameras})
            if ranges:
                views[-1]["depth_range"] = [425.0, 935.0]
            if depth:
                write_pfm(root / f"{i}.pfm", tabletop.depths[i])
                views[-1]["depth"] = f"{i}.pfm"
        write_json(root / "cameras.json", {"unit": "mm", "views": views})
        return root

    return write


@pytest.fixture
def tiny() -> Callable[..., list[str]]:
    """Options that make any slim unsupervised config a run of seconds: ``tiny(*more_options)``."""
    return lambda *more: [
        f"experiment_name=tool_{next(_runs)}",
        "train_dataloader.dataset.size=(48,64)",
        "train_dataloader.dataset.max_size=None",
        "train_dataloader.dataset.num_sources=2",
        "train_dataloader.dataset.extra_sources=1",
        "model.backbone.channels=(4,4)",
        "model.test_num_levels=2",
        "model.head.coarse_hypotheses.num=8",
        "model.head.regularizer.channels=(4,8,8)",
        "train_cfg.max_iters=2",
        "default_hooks.checkpoint.interval=1",
        "log_level=WARNING",
        *more,
    ]
