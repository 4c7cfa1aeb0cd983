"""From importer configs to scenes."""

from collections.abc import Sequence
from typing import Any

from toolbox.registry import SCENES
from toolbox.structures import Scene

Config = dict[str, Any]


def build_scenes(scenes: Config | Scene | Sequence[Config | Scene]) -> list[Scene]:
    """Scenes from importer configs (an importer may return one scene or several); built scenes pass through."""
    if isinstance(scenes, (dict, Scene)):
        scenes = [scenes]
    built: list[Scene] = []
    for scene in scenes:
        result = scene if isinstance(scene, Scene) else SCENES.build(scene)
        built.extend([result] if isinstance(result, Scene) else result)
    return built
