"""How far the reconstruction of a video has come, on disk: a run that was killed goes on from there."""

import pickle
import time
from pathlib import Path
from typing import Any

import torch

from toolbox.fusion import SceneMesher
from toolbox.io import atomic_path
from toolbox.models.reconstructors import VolumetricReconstructor


class VideoProgress:
    """What the network remembers and the scene's volume after some fragments, in one file.

    Args:
        path: of the file; absent while there is nothing to go on from.
        made_from: fingerprint of all that the mesh depends on; what was kept of anything else is not gone on from.
        interval: seconds between two times that it is written.
    """

    def __init__(self, path: Path, made_from: str, interval: float = 30.0):
        self.path, self.made_from, self.interval = path, made_from, interval
        self._written = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """'done': number of fragments, 'memory' and 'volume' after them; None: begin with the first.

        A file that cannot be read is as none: it holds nothing that cannot be made again.
        """
        if not self.path.exists():
            return None
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            return None
        return kept if kept.get("made_from") == self.made_from else None

    def save(self, done: int, model: VolumetricReconstructor, mesher: SceneMesher) -> None:
        """Note that ``done`` fragments are taken in, where the last note is old enough."""
        if time.monotonic() - self._written < self.interval:
            return
        with atomic_path(self.path) as temporary:
            kept = {"made_from": self.made_from, "done": done, "memory": model.memory(), "volume": mesher.state()}
            torch.save(kept, temporary)
        self._written = time.monotonic()

    def remove(self) -> None:
        """The mesh is there."""
        self.path.unlink(missing_ok=True)
