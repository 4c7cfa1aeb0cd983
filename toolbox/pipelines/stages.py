"""What makes long work resumable: a manifest of stages and the fingerprints of what they were made from."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.io import write_json
from toolbox.structures import Scene


def fingerprint(value: Any) -> str:
    """Hash of a JSON-like value; equal values give equal fingerprints on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fingerprint_tensors(tensors: Mapping[str, Tensor], structure: str = "") -> str:
    """Hash of named tensors."""
    digest = hashlib.sha256(structure.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def fingerprint_weights(model: nn.Module) -> str:
    """Hash of a model's structure and weights."""
    return fingerprint_tensors(model.state_dict(), str(model))


def describe_scene(scene: Scene) -> list[Any]:
    """What identifies a scene's content: its images by path, size and time, and its cameras."""
    described = []
    for view in scene.views:
        status = view.image_path.stat() if view.image_path.exists() else None
        described.append(
            [
                view.id,
                str(view.image_path),
                (status.st_size, status.st_mtime_ns) if status else None,
                view.intrinsics.tolist(),
                view.world_to_cam.tolist(),
                view.depth_range,
            ]
        )
    return described


class Manifest:
    """The stages of one output folder: ``manifest.json`` names each stage's fingerprint and whether it is complete."""

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / "manifest.json"
        self._stages: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            try:
                self._stages = dict(json.loads(self.path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise UserError(self.path, "is no manifest", "Remove it to compute everything anew") from error

    def begin(self, stage: str, made_from: str, outputs: Iterable[Path]) -> bool:
        """Start or resume a stage; outputs made from anything else are removed first.

        Args:
            made_from: fingerprint of all that the stage's outputs depend on.
            outputs: every file the stage may write.

        Returns:
            Whether the stage is complete already, with all its outputs in place.
        """
        outputs = list(outputs)
        recorded = self._stages.get(stage, {})
        if recorded.get("made_from") == made_from:
            return bool(recorded.get("complete")) and all(path.exists() for path in outputs)
        for path in outputs:
            path.unlink(missing_ok=True)
        self._record(stage, {"made_from": made_from, "complete": False})
        return False

    def finish(self, stage: str, **facts: Any) -> None:
        """Mark a stage complete; ``facts`` (timings, counts) can be asked for later."""
        self._record(stage, {**self._stages[stage], "complete": True, "facts": facts})

    def facts(self, stage: str) -> dict[str, Any]:
        """What ``finish`` noted of a stage."""
        return self._stages.get(stage, {}).get("facts", {})

    def made_from(self, stage: str) -> str:
        """Fingerprint of what a stage was begun with.

        Raises:
            KeyError: it has not been begun.
        """
        return self._stages[stage]["made_from"]

    def _record(self, stage: str, entry: dict[str, Any]) -> None:
        self._stages[stage] = entry
        write_json(self.path, self._stages)
