"""A scene's fragments and its volumes of truth, as files: ``fragments.json`` and, with depth, ``tsdf_<level>.npz``."""

import json
import os
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.errors import UserError
from toolbox.io import atomic_path, write_json
from toolbox.structures import Scene, View

from .keyframes import KeyframeRule, select_keyframes, split_fragments

FILE_NAME = "fragments.json"
_FORMAT = "fragments 1"
_REMEDY = "Make it anew with tools/prepare_fragments.py"


@dataclass(frozen=True)
class VolumeInfo:
    """Where a scene's TSDF volumes lie.

    Attributes:
        origin: of the centre of voxel (0, 0, 0) of every level, in the volumes' frame.
        voxel_size: of level 0, in metres; it doubles from level to level.
        levels: number of volumes.
    """

    origin: tuple[float, float, float]
    voxel_size: float
    levels: int = 3


@dataclass(frozen=True)
class SceneFragments:
    """The fragments of one scene.

    Attributes:
        scene: with (at least) the views that the fragments use.
        fragments: ids of the views of each, in the order they were taken.
        world_to_volume: (4, 4) rigid, from the scene's world to the frame of the volumes (z up, floor near 0).
        rule: by which the fragments were chosen; None where they came from elsewhere.
        frames: how many the scene had.
        rest: ids of the keyframes that no fragment holds.
        volumes: of the truth; None where there is none.
        folder: where the volumes are.
    """

    scene: Scene
    fragments: list[list[int]]
    world_to_volume: np.ndarray = field(default_factory=lambda: np.eye(4))
    rule: KeyframeRule | None = None
    frames: int = 0
    rest: list[int] = field(default_factory=list)
    volumes: VolumeInfo | None = None
    folder: Path | None = None

    def volume(self, level: int) -> Float[Tensor, "x y z"]:
        """The TSDF of a level (0 is the finest), float32.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_volume(self.folder / f"tsdf_{level}.npz")


def select_fragments(scene: Scene, rule: KeyframeRule, world_to_volume: np.ndarray | None = None) -> SceneFragments:
    """Choose a scene's keyframes and split them into fragments; the scene keeps the views of these only.

    Raises:
        UserError: the scene's unit is not the metre (or unknown, which is taken for it), or there are fewer keyframes
            than a fragment has.
    """
    if scene.unit not in ("m", "unknown"):
        raise UserError(
            f"scene '{scene.name}'",
            f"is measured in {scene.unit}; fragments and volumes are in metres",
            "Import it in metres",
        )
    keyframes = select_keyframes([view.world_to_cam for view in scene.views], rule)
    fragments, rest = split_fragments([scene.views[k].id for k in keyframes], rule)
    if not fragments:
        raise UserError(
            f"scene '{scene.name}'",
            f"has {len(keyframes)} keyframes among {len(scene.views)} frames, and a fragment needs {rule.views}",
            "Give a longer video, or lower the limits of the keyframe rule",
        )
    used = {view_id for fragment in fragments for view_id in fragment}
    reduced = replace(
        scene, views=[v for v in scene.views if v.id in used], pairs=None, points=None, left_out=list(scene.left_out)
    )
    transform = np.eye(4) if world_to_volume is None else world_to_volume
    return SceneFragments(reduced, fragments, transform, rule, len(scene.views), rest)


def write_fragments(folder: str | Path, prepared: SceneFragments) -> SceneFragments:
    """Write ``fragments.json``, atomically; what is read back is what was written.

    Paths are relative to ``root``, the folder that holds images, depth maps and mesh: who moves the data changes
    that line.
    """
    folder, scene = Path(folder), prepared.scene
    files = [scene.mesh_path, *(path for view in scene.views for path in (view.image_path, view.depth_path))]
    root = Path(os.path.commonpath([path.resolve().parent for path in files if path is not None]))
    content = {
        "format": _FORMAT,
        "scene": scene.name,
        "unit": scene.unit,
        "root": str(root),
        "mesh": _relative(scene.mesh_path, root),
        "source_to_scene": scene.source_to_scene.tolist(),
        "frames": prepared.frames,
        "rule": None if prepared.rule is None else asdict(prepared.rule),
        "world_to_volume": prepared.world_to_volume.tolist(),
        "volumes": None if prepared.volumes is None else asdict(prepared.volumes),
        "fragments": prepared.fragments,
        "keyframes_left_over": prepared.rest,
        "views": [_view_to_json(view, root) for view in scene.views],
    }
    write_json(folder / FILE_NAME, content)
    return replace(prepared, folder=folder)


def read_fragments(folder: str | Path) -> SceneFragments:
    """Read what ``write_fragments`` wrote.

    Raises:
        UserError: the file is missing, or malformed, or a fragment names a view that is not there.
    """
    path = Path(folder) / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(path, f"cannot be read ({error})", _REMEDY) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UserError(path, f"is no file of the format '{_FORMAT}'", _REMEDY)
    try:
        prepared = _from_json(content, path.parent)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(path, f"is malformed ({type(error).__name__}: {error})", _REMEDY) from error
    known = {view.id for view in prepared.scene.views}
    if missing := sorted({i for fragment in prepared.fragments for i in fragment} - known):
        raise UserError(path, f"has fragments of views it does not describe: {missing}", _REMEDY)
    return prepared


def _from_json(content: dict[str, Any], folder: Path) -> SceneFragments:
    root = Path(content["root"])
    mesh = None if content["mesh"] is None else root / content["mesh"]
    views = [_view_from_json(view, root) for view in content["views"]]
    scene = Scene(content["scene"], views, content["unit"], _matrix(content["source_to_scene"], 4), mesh_path=mesh)
    volumes = content["volumes"]
    return SceneFragments(
        scene,
        [[int(i) for i in fragment] for fragment in content["fragments"]],
        _matrix(content["world_to_volume"], 4),
        None if content["rule"] is None else KeyframeRule(**content["rule"]),
        int(content["frames"]),
        [int(i) for i in content["keyframes_left_over"]],
        None if volumes is None else VolumeInfo(**{**volumes, "origin": tuple(volumes["origin"])}),
        folder,
    )


def _matrix(rows: list[list[float]], size: int) -> np.ndarray:
    return np.array(rows, np.float64).reshape(size, size)


def _relative(path: Path | None, root: Path) -> str | None:
    return None if path is None else os.path.relpath(path.resolve(), root)


def _view_to_json(view: View, root: Path) -> dict[str, Any]:
    described = {
        "id": view.id,
        "name": view.name,
        "image": _relative(view.image_path, root),
        "size": list(view.size),
        "intrinsics": view.intrinsics.tolist(),
        "world_to_cam": view.world_to_cam.tolist(),
    }
    if view.depth_path is not None:
        described["depth"] = _relative(view.depth_path, root)
        described["depth_scale"] = view.depth_scale
        if view.depth_intrinsics is not None:
            described["depth_intrinsics"] = view.depth_intrinsics.tolist()
    return described


def _view_from_json(content: dict[str, Any], root: Path) -> View:
    depth_intrinsics = content.get("depth_intrinsics")
    return View(
        id=int(content["id"]),
        image_path=root / content["image"],
        size=(int(content["size"][0]), int(content["size"][1])),
        intrinsics=_matrix(content["intrinsics"], 3),
        world_to_cam=_matrix(content["world_to_cam"], 4),
        depth_path=root / content["depth"] if "depth" in content else None,
        depth_scale=float(content.get("depth_scale", 1.0)),
        name=str(content["name"]),
        depth_intrinsics=None if depth_intrinsics is None else _matrix(depth_intrinsics, 3),
    )


def write_volume(path: str | Path, tsdf: Float[Tensor, "x y z"]) -> None:
    """Write a TSDF volume as a compressed npz with the array ``tsdf`` (x, y, z) float32, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, tsdf=tsdf.cpu().numpy().astype(np.float32))


def read_volume(path: str | Path) -> Float[Tensor, "x y z"]:
    """Read a TSDF volume: the array ``tsdf`` of an npz, or the only array of one (as NeuralRecon writes it).

    Raises:
        UserError: the file is missing or damaged, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            name = "tsdf" if "tsdf" in arrays else arrays.files[0]
            tsdf = arrays[name]
    except (OSError, ValueError, IndexError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(path, f"cannot be read as a TSDF volume ({error})", _REMEDY) from error
    if tsdf.ndim != 3 or tsdf.dtype.kind != "f":
        raise UserError(path, f"holds {tsdf.dtype} of shape {tsdf.shape}, not a volume (x, y, z)", _REMEDY)
    return torch.from_numpy(np.ascontiguousarray(tsdf, np.float32))
