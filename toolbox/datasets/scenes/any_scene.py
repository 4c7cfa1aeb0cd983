"""A scene of any format in a config, and depth ranges for scenes that come without."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from toolbox.errors import UserError
from toolbox.io import atomic_path
from toolbox.registry import SCENES
from toolbox.structures import Scene, SparsePoints

from .assembly import check_depth_range
from .cache import cache_folder
from .opening import open_scene
from .triangulation import triangulate_sparse_points


@SCENES.register_module()
def AnyScene(
    path: str | Path,
    format: str = "auto",
    depth_range: Sequence[float | int] | None = None,
    triangulate: bool = True,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> Scene:
    """A scene of any format that an importer knows, with a depth range for every view where one can be had.

    Args:
        path, format, options: see ``open_scene``.
        depth_range: (near, far) in the scene's unit, for every view; None takes the source's.
        triangulate: where the source tells neither depth ranges nor points, triangulate points from the images, once
            (cached).
        cache_dir: see ``toolbox.datasets.scenes.cache``.

    Raises:
        UserError: see ``open_scene`` and ``triangulate_sparse_points``; or the depth range is not 0 < near < far.
    """
    scene = open_scene(path, format, cache_dir, **options)
    if depth_range is not None:
        given = check_depth_range(*map(float, depth_range), f"AnyScene, depth_range={tuple(depth_range)}")
        return replace(scene, views=[replace(view, depth_range=given) for view in scene.views])
    return with_depth_ranges(scene, cache_dir)[0] if triangulate else scene


def with_depth_ranges(scene: Scene, cache_dir: str | Path | None = None) -> tuple[Scene, str]:
    """The scene, with sparse points triangulated (once, cached) if nothing else can tell its views' depth ranges.

    Returns:
        The scene, and where its depth ranges come from: 'source', 'sparse points' or 'triangulated points'.

    Raises:
        UserError: see ``triangulate_sparse_points``; or the cache cannot be read or written.
    """
    if all(view.depth_range is not None for view in scene.views):
        return scene, "source"
    if scene.points is not None:
        return scene, "sparse points"
    return replace(scene, points=_cached_points(scene, cache_dir)), "triangulated points"


def _cached_points(scene: Scene, cache_dir: str | Path | None) -> SparsePoints:
    images = [view.image_path for view in scene.views]
    folder = cache_folder("triangulated", images, {"cameras": _camera_digest(scene)}, cache_dir, scene.name)
    path = folder / "points.npz"
    if path.is_file():
        return _read_points(path)
    print_log(f"{scene.name}: no depth range; triangulating sparse points from the images", logger="current")
    points = triangulate_sparse_points(scene)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            xyz=points.xyz,
            lengths=np.array([len(ids) for ids in points.view_ids]),
            view_ids=np.concatenate(points.view_ids),
        )
    return points


def _read_points(path: Path) -> SparsePoints:
    try:
        with np.load(path, allow_pickle=False) as stored:
            xyz, lengths, view_ids = stored["xyz"], stored["lengths"], stored["view_ids"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(path, f"cannot be read ({error})", "Delete it; it is made anew") from error
    return SparsePoints(xyz, np.split(view_ids, np.cumsum(lengths)[:-1]))


def _camera_digest(scene: Scene) -> str:
    """Of all that decides the points beside the images' own files."""
    cameras = [
        [v.id, v.size, v.intrinsics.tolist(), v.world_to_cam.tolist(), v.depth_range and list(v.depth_range)]
        for v in scene.views
    ]
    return hashlib.sha256(json.dumps([cameras, sorted((scene.pairs or {}).items())]).encode()).hexdigest()
