"""A posed scene to its surface: from images by depth maps, from video by voxels."""

from pathlib import Path
from typing import Any

from mmengine.model import BaseModel

from toolbox.datasets.scenes import open_scene
from toolbox.fusion import FusionRecipe
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.pipelines import (
    ReconstructionSettings,
    VideoSettings,
    reconstruct_scene_files,
    reconstruct_video_files,
)
from toolbox.structures import Scene


def reconstruct_scene(
    scene: Scene | str | Path,
    model: BaseModel,
    out: str | Path,
    recipe: FusionRecipe | dict[str, Any] | None = None,
    quiet: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Reconstruct a scene with a trained network; results lie under ``out``.

    A multi-view network writes depth maps, cloud and mesh (see ``reconstruct_scene_files``). A volumetric one takes the
    views for a video in their order, and writes a mesh (see ``reconstruct_video_files``).

    Args:
        scene: a scene, or a path that one of the importers reads.
        model: from ``init_model``; its config's ``reconstruction`` holds the defaults of all settings.
        recipe: how depth maps become a surface, whole or what differs from the config's; for multi-view networks.
        quiet: no progress bars.
        settings: of ``ReconstructionSettings`` (max_size, num_levels, num_sources, depth_range, evaluate, ...) or of
            ``VideoSettings`` (every, size, keyframes, metres_per_unit, incremental, evaluate, ...), on top of the
            config's.

    Returns:
        The summary that is also written as ``summary.json``.

    Raises:
        UserError: a setting is none of the network's kind; and see the two functions.
    """
    scene = scene if isinstance(scene, Scene) else open_scene(scene)
    defaults = dict(getattr(model, "cfg", {}).get("reconstruction", {}))
    given = {**settings, "recipe": recipe} if recipe else settings
    if isinstance(model, VolumetricReconstructor):
        return reconstruct_video_files(scene, model, out, VideoSettings.from_dicts(defaults, given), quiet)
    return reconstruct_scene_files(scene, model, out, ReconstructionSettings.from_dicts(defaults, given), quiet)
