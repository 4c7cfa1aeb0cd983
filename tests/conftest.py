"""Shared fixtures. Reference data lies outside the project: TOOLBOX_SHARED, default ../shared."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from toolbox.datasets.synthetic import Tabletop, render_tabletop
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
