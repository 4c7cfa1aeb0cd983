"""Shared fixtures. Reference data lies outside the project: TOOLBOX_SHARED, default ../shared."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from toolbox.datasets.synthetic import Tabletop, make_scannet_scenes, render_tabletop
from toolbox.errors import UserError
from toolbox.evaluation.rendered_frames import DepthFusion
from toolbox.fusion import TSDFIntegrator
from toolbox.io import write_image, write_pfm
from toolbox.structures import Scene, View

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with goldens and captures; missing is a failure in CI and a skip elsewhere."""
    folder = Path(os.environ.get("TOOLBOX_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{folder} is missing; set TOOLBOX_SHARED to the folder of goldens and captures")
        pytest.skip(f"{folder} is missing; set TOOLBOX_SHARED to the folder of goldens and captures")
    return folder


@pytest.fixture
def depth_fusion() -> None:
    """For tests that fuse depth by Open3D: where the installed one cannot is a failure in CI and a skip elsewhere."""
    try:
        DepthFusion(0.1, 0.3, 3.0)
    except UserError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tabletop() -> Tabletop:
    """Five views of a procedural tabletop, 96 x 128, in mm."""
    return render_tabletop(seed=5, views=5, size=(96, 128))


@pytest.fixture
def tabletop_scene(tabletop: Tabletop, tmp_path: Path) -> Scene:
    """The tabletop as a scene whose files lie in the test's own folder."""
    views = []
    for i, (image, depth) in enumerate(zip(tabletop.images, tabletop.depths, strict=True)):
        write_image(tmp_path / "tabletop" / f"{i}.png", image)
        write_pfm(tmp_path / "tabletop" / f"{i}.pfm", depth)
        views.append(
            View(
                id=i,
                image_path=tmp_path / "tabletop" / f"{i}.png",
                size=image.shape[:2],
                intrinsics=tabletop.intrinsics[i].astype(np.float64),
                world_to_cam=tabletop.world_to_cam[i].astype(np.float64),
                depth_path=tmp_path / "tabletop" / f"{i}.pfm",
                depth_range=(425.0, 935.0),
                name=str(i),
            )
        )
    return Scene("tabletop", views, unit="mm")


@pytest.fixture(scope="session")
def room_folder(tmp_path_factory) -> Path:
    """A procedural room in ScanNet's layout: a hand-held walk of 30 views of 48 x 64 pixels, with depth and mesh."""
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=30, seed=3, size=(48, 64), workers=1)
    return root / "scene0000_00"


@pytest.fixture(scope="session")
def predict_truth() -> Callable[[dict], dict[str, Any]]:
    """A volumetric network that knows the depth: a data set's sample (with depth) -> a dict of ``predict`` mode."""

    def predict(sample: dict, voxel_size: float = 0.06, window: tuple[int, int, int] = (64, 64, 64)) -> dict[str, Any]:
        integrator = TSDFIntegrator(sample["window_origin"], window, voxel_size, max_depth=3.0)
        for depth, intrinsics, pose in zip(sample["depth"], sample["intrinsics"], sample["world_to_cam"], strict=True):
            integrator.integrate(depth, intrinsics, pose)
        volume = integrator.volume()
        coords = ((volume.weight > 0) & (volume.tsdf.abs() < 1)).nonzero()
        return {
            "coords": coords.int(),
            "tsdf": volume.tsdf[tuple(coords.T)],
            "origin": sample["window_origin"].float(),
            "window": window,
            "voxel_size": voxel_size,
            "volume_to_scene": sample["volume_to_scene"].float(),
            "meta": sample["meta"],
        }

    return predict


@pytest.fixture(scope="session")
def tiny_volumetric() -> dict[str, Any]:
    """The config of a volumetric network of a second: windows of 32 x 32 x 32 voxels of 12 cm, fragments of 4 views."""
    return {
        "type": "VolumetricReconstructor",
        "backbone": {"type": "ResNet18FPN", "channels": 4, "width": 8},
        "neck": {
            "type": "CoarseToFine",
            "networks": [{"type": "SPVCNN", "width": width} for width in (0.0625, 0.0625, 0.125)],
            "window": (32, 32, 32),
            "voxel_size": 0.12,
            "back_projection": {"view_fusion": {"type": "MeanViewFusion"}},
            "sparsifier": {"type": "TSDFBand", "threshold": 10.0},
            "fusion": {"type": "GRUFusion"},
        },
        "heads": {"tsdf": {"type": "TSDFHead"}},
    }
