"""Open a scene of any known format, recognised from its files."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.errors import UserError
from toolbox.registry import SCENES
from toolbox.structures import Scene

from .colmap import find_model_folder
from .folder import FILE_NAME as CAMERAS_JSON
from .transforms_json import FILE_NAMES as TRANSFORMS_JSON


@dataclass(frozen=True)
class _Format:
    """An importer, what tells it from the others, and that in words."""

    importer: str
    recognises: Callable[[Path], bool]
    looked_for: str


def _has_folders(*names: str) -> Callable[[Path], bool]:
    return lambda path: all((path / name).is_dir() for name in names)


def _is_transforms(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in TRANSFORMS_JSON)
    return _json_has(path, "frames")


def _is_cameras_json(path: Path) -> bool:
    return (path / CAMERAS_JSON).is_file() if path.is_dir() else _json_has(path, "views")


def _json_has(path: Path, key: str) -> bool:
    if path.suffix != ".json":
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and key in content


def _is_sens(path: Path) -> bool:
    return path.suffix == ".sens" or (path.is_dir() and any(path.glob("*.sens")))


def _is_seven_scenes(path: Path) -> bool:
    patterns = ("frame-*.pose.txt", "*/frame-*.pose.txt", "*/*/frame-*.pose.txt")
    return path.is_dir() and any(next(path.glob(pattern), None) for pattern in patterns)


def _is_dtu(path: Path) -> bool:
    return _has_folders("Cameras", "Rectified")(path) or path.parent.name == "Rectified"


# The first that recognises the files wins: the more telling ones come first.
_FORMATS = (
    _Format("FolderScene", _is_cameras_json, "cameras.json"),
    _Format("TransformsScene", _is_transforms, "transforms.json, transforms_train.json"),
    _Format("ScanNetScene", _has_folders("color", "pose", "intrinsic"), "color/ + pose/ + intrinsic/"),
    _Format("ScanNetSens", _is_sens, "*.sens"),
    _Format("SevenScenes", _is_seven_scenes, "frame-XXXXXX.pose.txt"),
    _Format("MVSNetScene", _has_folders("images", "cams"), "images/ + cams/"),
    _Format("DTUTest", _is_dtu, "Cameras/ + Rectified/"),
    _Format(
        "ColmapScene",
        lambda path: path.is_dir() and find_model_folder(path) is not None,
        "cameras.bin or cameras.txt in sparse/0, in sparse, or in the folder",
    ),
)


def open_scene(path: str | Path, format: str = "auto", cache_dir: str | Path | None = None, **options: Any) -> Scene:
    """Open a scene of any format that an importer knows.

    Args:
        path: folder or file of the scene; of DTU, the folder with Cameras/ and Rectified/ (with ``scan='scanN'``), or
            Rectified/scanN.
        format: 'auto' recognises it from the files; else the name of an importer ('ColmapScene', ...).
        cache_dir: for importers that keep derived files, see ``toolbox.datasets.scenes.cache``.
        options: further arguments of the importer. ``depth=False`` is understood for every format: the source's depth
            maps are left alone.

    Raises:
        UserError: the path does not exist, no format or a wrong option, or whatever the importer finds wrong.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(path, "does not exist", "Check the path")
    name = _recognise(path) if format == "auto" else format
    if name == "DTUTest" and path.parent.name == "Rectified":
        options = {"scan": path.name, **options}
        path = path.parent.parent
    importer = SCENES.get(name)
    known = inspect.signature(importer).parameters
    if "cache_dir" in known:
        options["cache_dir"] = cache_dir
    if "depth" not in known and options.get("depth") is False:
        del options["depth"]  # of a format without depth maps
    if unknown := set(options) - set(known):
        allowed = ", ".join(list(known)[1:]) or "none"
        raise UserError(f"options {sorted(unknown)}", f"are none of {name}'s", f"Options of {name}: {allowed}")
    scene = importer(path, **options)
    if isinstance(scene, list):
        if len(scene) != 1:
            raise UserError(path, f"holds {len(scene)} scenes for {name}", "Narrow it down to one (scans, lightings)")
        return scene[0]
    return scene


def _recognise(path: Path) -> str:
    for candidate in _FORMATS:
        if candidate.recognises(path):
            return candidate.importer
    looked = "; ".join(f"{candidate.looked_for} ({candidate.importer})" for candidate in _FORMATS)
    raise UserError(
        path,
        f"is no scene of a known format. Looked for: {looked}",
        "Give the scene's own folder, name the format, or write cameras.json as docs/scenes.md describes",
    )
