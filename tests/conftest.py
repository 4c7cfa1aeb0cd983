"""Shared fixtures. Reference data lies outside the project: TOOLBOX_SHARED, default ../shared."""

import os
from pathlib import Path

import pytest
import torch

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
