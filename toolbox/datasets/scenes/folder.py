"""The toolbox's own generic format: a folder of images with ``cameras.json`` (docs/scenes.md describes it)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from toolbox.errors import UserError
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

from .assembly import SceneBuilder, camera_matrix, check_depth_range, check_intrinsics

FILE_NAME = "cameras.json"
_UNITS = ("m", "mm", "unknown")
_KEYS = {"name", "unit", "intrinsics", "size", "depth_range", "depth_scale", "views", "pairs", "mesh"}
_VIEW_KEYS = {
    "id",
    "name",
    "image",
    "intrinsics",
    "size",
    "world_to_cam",
    "depth",
    "depth_scale",
    "depth_intrinsics",
    "depth_range",
}
# A view's setting that is not given is the file's.
_INHERITED = ("intrinsics", "size", "depth_range", "depth_scale")


@SCENES.register_module()
def FolderScene(root: str | Path, depth: bool = True) -> Scene:
    """A scene of a folder with images and ``cameras.json``, the toolbox's generic format.

    Cameras have OpenCV axes, ``world_to_cam`` 4 x 4, and intrinsics with pixel centres at integers.

    Args:
        root: the folder, or the JSON file.
        depth: False leaves the depth maps alone; they need not exist.

    Raises:
        UserError: the file is malformed or has an unknown key, a pose is not rigid, an image is of another size,
            no view is usable.
    """
    path = Path(root) / FILE_NAME if Path(root).is_dir() else Path(root)
    content = _read(path)
    folder = path.parent
    builder = SceneBuilder(str(content.get("name", folder.resolve().name)), path)
    for index, entry in enumerate(content["views"]):
        _add_view(builder, folder, path, index, _with_defaults(path, index, content, entry), depth)
    unit = content.get("unit", "unknown")
    if unit not in _UNITS:
        raise UserError(path, f"gives the unit '{unit}'", f"Write one of {', '.join(_UNITS)}")
    mesh = folder / content["mesh"] if "mesh" in content else None
    if mesh is not None and not mesh.is_file():
        raise UserError(mesh, f"does not exist, though {path} names it as the mesh", "Restore it, or remove the entry")
    return builder.build(unit, _pairs(path, content), mesh_path=mesh)


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "Check the path") from error
    except json.JSONDecodeError as error:
        raise UserError(path, f"is no JSON ({error})", "Correct the file there") from error
    if not isinstance(content, dict) or not isinstance(content.get("views"), list):
        raise UserError(path, "has no list 'views'", "Write the cameras as docs/scenes.md describes")
    if unknown := set(content) - _KEYS:
        raise UserError(path, f"has unknown keys {sorted(unknown)}", f"Known keys: {', '.join(sorted(_KEYS))}")
    return content


def _with_defaults(path: Path, index: int, content: dict, entry: Any) -> dict:
    if not isinstance(entry, dict) or not {"image", "world_to_cam"} <= set(entry):
        raise UserError(path, f"is malformed at view {index}", "Each view has at least 'image' and 'world_to_cam'")
    if unknown := set(entry) - _VIEW_KEYS:
        known = ", ".join(sorted(_VIEW_KEYS))
        raise UserError(path, f"has unknown keys {sorted(unknown)} at view {index}", f"Known keys: {known}")
    return {key: content[key] for key in _INHERITED if key in content} | entry


def _add_view(builder: SceneBuilder, folder: Path, path: Path, index: int, entry: dict, depth: bool) -> None:
    where = f"{path} (view {index}, '{entry['image']}')"
    name = str(entry.get("name", entry["image"]))
    image_path = folder / entry["image"]
    size = builder.readable_size(name, image_path)
    if size is None:
        return
    world_to_cam = builder.usable_pose(name, _numbers(entry["world_to_cam"], where), where)
    if world_to_cam is None:
        return
    if "intrinsics" not in entry:
        raise UserError(where, "has no intrinsics", "Give them with the view, or for all views at the top")
    stated = entry.get("size")
    builder.check_size(
        image_path, size, None if stated is None else tuple(_numbers(stated, where).astype(int).tolist())
    )
    intrinsics = _intrinsics(entry["intrinsics"], where)
    depth_range = entry.get("depth_range")
    view = View(
        int(entry.get("id", index)),
        image_path,
        size,
        intrinsics,
        world_to_cam,
        _depth_path(folder, entry, where) if depth else None,
        float(entry.get("depth_scale", 1.0)),
        None if depth_range is None else check_depth_range(*_pair(depth_range, where), where),
        name,
        _intrinsics(entry["depth_intrinsics"], where) if "depth_intrinsics" in entry else None,
    )
    builder.add(view, camera=intrinsics.tobytes())


def _numbers(value: Any, where: str) -> np.ndarray:
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            where, f"holds something that is no array of numbers ({error})", "See docs/scenes.md"
        ) from error


def _pair(value: Any, where: str) -> tuple[float, float]:
    numbers = _numbers(value, where)
    if numbers.shape != (2,):
        raise UserError(where, "has a depth range that is not two numbers", "Write [near, far]")
    return float(numbers[0]), float(numbers[1])


def _intrinsics(value: Any, where: str) -> np.ndarray:
    """From a 3 x 3 matrix, or from an object with fx, fy, cx, cy."""
    if isinstance(value, dict):
        if set(value) != {"fx", "fy", "cx", "cy"}:
            raise UserError(where, f"has intrinsics with the keys {sorted(value)}", "Write fx, fy, cx, cy")
        return check_intrinsics(camera_matrix(*_numbers([value[k] for k in ("fx", "fy", "cx", "cy")], where)), where)
    return check_intrinsics(_numbers(value, where), where)


def _depth_path(folder: Path, entry: dict, where: str) -> Path | None:
    if entry.get("depth") is None:
        return None
    path = folder / entry["depth"]
    if not path.is_file():
        raise UserError(
            path,
            f"does not exist, though {where} names it as depth",
            "Restore it, remove the entry, or load with depth=False",
        )
    return path


def _pairs(path: Path, content: dict) -> dict[int, list[tuple[int, float]]] | None:
    """Pairs as {reference: [source, ...]} or {reference: [[source, score], ...]}."""
    if "pairs" not in content:
        return None
    try:
        pairs = {}
        for reference, sources in content["pairs"].items():
            listed = [s if isinstance(s, list) else (s, float(len(sources) - k)) for k, s in enumerate(sources)]
            pairs[int(reference)] = [(int(source), float(score)) for source, score in listed]
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            path,
            f"has malformed pairs ({error})",
            'Write {"reference id": [source id, ...]} or [[source id, score], ...]',
        ) from error
    return pairs
