"""The files in which NeuralRecon keeps fragments and volumes: ``fragments.pkl``, ``tsdf_info.pkl``,
``full_tsdf_layer<level>.npz``. Pickles among them are read by ``plain_pickle``."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.structures import Scene

from .plain_pickle import read_plain_pickle
from .scene_fragments import SceneFragments, VolumeInfo

_REMEDY = "Restore the file, or make fragments anew with tools/prepare_fragments.py"


def read_published_fragments(folder: str | Path, scene: Scene) -> SceneFragments:
    """A scene's fragments as NeuralRecon prepared them, on the views of an imported scene.

    ``fragments.pkl`` is a list with, for each fragment, the frame numbers ``image_ids``; ``tsdf_info.pkl``, where it
    lies beside the volumes, holds their ``vol_origin`` and ``voxel_size``. Cameras and images are the scene's own; its
    view ids have to be the frame numbers (as ``ScanNetScene``'s are).

    Raises:
        UserError: a file is missing or malformed, or names a frame that the scene does not have.
    """
    folder = Path(folder)
    path = folder / "fragments.pkl"
    entries = read_plain_pickle(path)
    try:
        fragments = [[int(i) for i in entry["image_ids"]] for entry in entries]
        named = {str(entry["scene"]) for entry in entries if "scene" in entry}
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(path, f"holds no list of fragments with their image_ids ({error})", _REMEDY) from error
    if named - {scene.name}:
        raise UserError(path, f"is of {', '.join(sorted(named))}, not '{scene.name}'", "Give the scene's own folder")
    used = {i for fragment in fragments for i in fragment}
    if missing := sorted(used - {view.id for view in scene.views}):
        raise UserError(
            path, f"names frames that scene '{scene.name}' does not have: {missing}", "Import the scene with every=1"
        )
    return SceneFragments(
        replace(scene, views=[view for view in scene.views if view.id in used], pairs=None, points=None),
        fragments,
        frames=len(scene.views),
        volumes=read_published_info(folder) if (folder / "tsdf_info.pkl").is_file() else None,
        folder=folder,
    )


def read_published_info(folder: str | Path) -> VolumeInfo:
    """``tsdf_info.pkl``, and how many ``full_tsdf_layer<level>.npz`` lie beside it.

    Raises:
        UserError: the file is missing or malformed, or there is no volume.
    """
    path = Path(folder) / "tsdf_info.pkl"
    content = read_plain_pickle(path)
    levels = 0
    while published_volume_path(folder, levels).is_file():
        levels += 1
    try:
        origin = tuple(float(x) for x in np.asarray(content["vol_origin"], np.float64).reshape(3))
        voxel_size = float(content["voxel_size"])
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(path, f"holds no vol_origin and voxel_size ({error})", _REMEDY) from error
    if levels == 0:
        raise UserError(published_volume_path(folder, 0), "does not exist", _REMEDY)
    return VolumeInfo(origin, voxel_size, levels)


def published_volume_path(folder: str | Path, level: int) -> Path:
    """Where NeuralRecon keeps the volume of a level."""
    return Path(folder) / f"full_tsdf_layer{level}.npz"
