"""Scenes with poses that were refined from their images, in place of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from toolbox.datasets.building import Config, build_scenes
from toolbox.errors import UserError
from toolbox.io import write_json
from toolbox.registry import SCENES
from toolbox.structures import Scene

from .labelled import label_folder_name

_REMEDY = "tools/self_train.py writes it, with self_training.poses in the config"


@SCENES.register_module()
def RefinedScenes(
    scenes: Config | Scene | Sequence[Config | Scene], poses: str | Path, shared: str | None = None
) -> list[Scene]:
    """Scenes whose views have the poses of ``<poses>/<scene>/poses.json``.

    Args:
        scenes: importer configs, one or a list; or built scenes.
        poses: folder with a folder for each scene.
        shared: as for ``PseudoLabelledScenes``.

    Raises:
        UserError: see ``read_poses`` and ``with_poses``.
    """
    return [
        with_poses(scene, Path(poses) / label_folder_name(scene.name, shared) / "poses.json")
        for scene in build_scenes(scenes)
    ]


def with_poses(scene: Scene, path: str | Path) -> Scene:
    """The scene with the poses of a file.

    Raises:
        UserError: see ``read_poses``; or a view has no pose there.
    """
    poses = read_poses(path)
    missing = [str(view.id) for view in scene.views if view.id not in poses]
    if missing:
        raise UserError(
            path, f"has no pose for {len(missing)} views of '{scene.name}': {', '.join(missing[:10])}", _REMEDY
        )
    return replace(scene, views=[replace(view, world_to_cam=poses[view.id]) for view in scene.views])


def write_poses(path: str | Path, poses: Mapping[int, np.ndarray]) -> None:
    """Write ``{"world_to_cam": {view id: 4x4 rows}}`` as JSON, whole or not at all; numbers keep all their digits."""
    write_json(Path(path), {"world_to_cam": {str(i): pose.tolist() for i, pose in poses.items()}})


def read_poses(path: str | Path) -> dict[int, np.ndarray]:
    """What ``write_poses`` wrote: world_to_cam (4, 4) by view id.

    Raises:
        UserError: the file is missing, or holds something else.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))["world_to_cam"]
        poses = {int(i): np.array(rows, dtype=np.float64) for i, rows in stored.items()}
    except OSError as error:
        raise UserError(path, "cannot be read", _REMEDY) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(path, f"holds no poses ({error})", _REMEDY) from error
    for view_id, pose in poses.items():
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise UserError(path, f"has no 4 x 4 matrix for view {view_id}", _REMEDY)
    return poses
