"""A procedural room as a scene."""

from pathlib import Path

import pytest

from toolbox.datasets.scenes import ScanNetScene
from toolbox.structures import Scene


@pytest.fixture(scope="session")
def room(room_folder: Path) -> Scene:
    """30 views of 48 x 64 pixels, in metres, z up."""
    return ScanNetScene(room_folder)
