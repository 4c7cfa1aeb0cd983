"""A posed scene to depth maps, cloud and mesh."""

from pathlib import Path
from typing import Any

from toolbox.datasets.scenes import open_scene
from toolbox.fusion import FusionRecipe
from toolbox.models.reconstructors import MultiViewStereo
from toolbox.pipelines import ReconstructionSettings, reconstruct_scene_files
from toolbox.structures import Scene


def reconstruct_scene(
    scene: Scene | str | Path,
    model: MultiViewStereo,
    out: str | Path,
    recipe: FusionRecipe | dict[str, Any] | None = None,
    quiet: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Reconstruct a scene with a trained network; results lie under ``out``.

    Args:
        scene: a scene, or a path that one of the importers reads.
        model: from ``init_model``; its config's ``reconstruction`` holds the defaults of all settings.
        recipe: how depth maps become a surface, whole or what differs from the config's.
        quiet: no progress bars.
        settings: of ``ReconstructionSettings``: max_size, num_levels, num_sources, depth_range, bfloat16, evaluate.

    Returns:
        The summary that is also written as ``summary.json``.

    Raises:
        UserError: see ``reconstruct_scene_files``.
    """
    scene = scene if isinstance(scene, Scene) else open_scene(scene)
    defaults = dict(getattr(model, "cfg", {}).get("reconstruction", {}))
    base = dict(defaults.pop("recipe", {}))
    if not isinstance(recipe, FusionRecipe):
        recipe = FusionRecipe.from_dict({**base, **(recipe or {})})
    given = {name: value for name, value in settings.items() if value is not None}
    return reconstruct_scene_files(
        scene, model, out, ReconstructionSettings(**{**defaults, **given}, recipe=recipe), quiet
    )
