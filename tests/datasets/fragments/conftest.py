"""A procedural room in ScanNet's layout: a hand-held walk with depth."""

from pathlib import Path

import pytest

from toolbox.datasets.scenes import ScanNetScene
from toolbox.datasets.synthetic import make_scannet_scenes
from toolbox.structures import Scene


@pytest.fixture(scope="session")
def room_folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=30, seed=3, size=(48, 64), workers=1)
    return root / "scene0000_00"


@pytest.fixture(scope="session")
def room(room_folder) -> Scene:
    """30 views of 48 x 64 pixels, in metres, z up."""
    return ScanNetScene(room_folder)
