"""Scenes whose depth is pseudo labels: what a network's own reconstruction says, in place of any ground truth."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from toolbox.datasets.building import Config, build_scenes
from toolbox.errors import UserError
from toolbox.io import read_cam_txt
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

_REMEDY = "Make the labels of this scene first (tools/self_train.py does), or check the folder 'labels'"
# Cameras of labels went through text and back, nothing more.
_CAMERA_TOLERANCE = 1e-5


@SCENES.register_module()
def PseudoLabelledScenes(
    scenes: Config | Scene | Sequence[Config | Scene], labels: str | Path, shared: str | None = None
) -> list[Scene]:
    """Scenes with depth maps from ``labels`` and from nowhere else.

    The label of a view is ``<labels>/<scene>/labels/<view id:08d>.pfm``, z-depth in the scene's unit (0 where there is
    none), on the grid of the camera beside it, ``<view id:08d>_cam.txt``, which may be another grid than the image's.
    The scenes' own depth maps and meshes are dropped. A view without a label keeps no depth; such views are counted
    and named in the log.

    Args:
        scenes: importer configs, one or a list; or built scenes.
        labels: folder with a folder for each scene.
        shared: regular expression with one group. A scene whose whole name matches takes the folder of the group's
            text: r"(scan\\d+)_\\d+" for DTU, whose lightings share the labels of their scan.

    Raises:
        UserError: ``shared`` is no such expression, a scene has no folder of labels, a label has no readable camera,
            or its camera stands elsewhere than the view's.
    """
    return [_labelled(scene, Path(labels) / label_folder_name(scene.name, shared)) for scene in build_scenes(scenes)]


def label_folder_name(scene_name: str, shared: str | None = None) -> str:
    """The name of the folder with a scene's labels; ``shared`` as for ``PseudoLabelledScenes``.

    Raises:
        UserError: ``shared`` is no regular expression with one group.
    """
    pattern = _one_group(shared)
    match = pattern.fullmatch(scene_name) if pattern else None
    return match[1] if match else scene_name


def _one_group(shared: str | None) -> re.Pattern | None:
    if shared is None:
        return None
    try:
        pattern = re.compile(shared)
    except re.error as error:
        raise UserError(f"shared='{shared}'", f"is no regular expression ({error})", "Correct it") from error
    if pattern.groups != 1:
        raise UserError(
            f"shared='{shared}'", f"has {pattern.groups} groups", r"Put one pair of parentheses: (scan\d+)_\d+"
        )
    return pattern


def _labelled(scene: Scene, folder: Path) -> Scene:
    if not (folder / "labels").is_dir():
        raise UserError(folder / "labels", f"does not exist: scene '{scene.name}' has no pseudo labels", _REMEDY)
    views = [_with_label(view, folder / "labels") for view in scene.views]
    without = [str(view.id) for view in views if view.depth_path is None]
    if without:
        print_log(
            f"{scene.name}: {len(without)} of {len(views)} views have no pseudo label: {', '.join(without)}",
            logger="current",
        )
    return replace(scene, views=views, mesh_path=None)


def _with_label(view: View, folder: Path) -> View:
    path = folder / f"{view.id:08d}.pfm"
    if not path.is_file():
        return replace(view, depth_path=None, depth_scale=1.0, depth_intrinsics=None)
    camera_path = folder / f"{view.id:08d}_cam.txt"
    camera = read_cam_txt(camera_path)
    off = np.abs(camera.world_to_cam - view.world_to_cam).max()
    if not off <= _CAMERA_TOLERANCE * max(1.0, np.abs(view.world_to_cam).max()):
        raise UserError(
            camera_path,
            f"is another camera than that of view {view.id} ('{view.name}'): their poses differ by {off:.3g}",
            "Remove the labels and make them anew from these scenes",
        )
    return replace(view, depth_path=path, depth_scale=1.0, depth_intrinsics=camera.intrinsics)
