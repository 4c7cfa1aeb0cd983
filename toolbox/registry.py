"""Every registry of the toolbox.

A name in a config is looked up here; the folders named in ``locations`` are imported at the first look-up. Components
outside the package are reached by ``custom_imports`` in a config, or by an entry point in the group
``toolbox.plugins`` (a module that registers things when imported).
"""

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

from toolbox.errors import UserError

_SCOPE = "toolbox"


class ToolboxRegistry(Registry):
    """An mmengine registry that answers an unknown name with the nearest registered ones."""

    def import_from_location(self) -> None:
        """Import the registry's own folders, then the plugins that other distributions announce."""
        if not self._imported:
            super().import_from_location()
            for plugin in entry_points(group="toolbox.plugins"):
                try:
                    plugin.load()
                except ImportError as error:
                    raise UserError(
                        f"plugin '{plugin.name}'", f"cannot be imported ({error})", "Mend or uninstall its distribution"
                    ) from error

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self.import_from_location()
        return sorted(self.module_dict)

    def get(self, key: str) -> Callable:
        """The component of that name: a class, or a function that builds one.

        Raises:
            UserError: nothing of that name is registered; names the nearest ones.
        """
        found = super().get(key)
        if found is not None:
            return found
        known = self.names() + (sorted(self.parent.module_dict) if self.parent else [])
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.4) or known[:10]
        raise UserError(
            f"type='{key}'",
            f"no component of that name in the registry '{self.name}'",
            f"Nearest registered names: {', '.join(near) or 'none'}. tools/list_components.py prints all; a component "
            "of your own needs its module in the config's custom_imports",
        )


def _registry(name: str, folder: str, parent: Registry | None = None) -> ToolboxRegistry:
    return ToolboxRegistry(name, parent=parent, scope=_SCOPE, locations=[f"toolbox.{folder}"])


# What mmengine's runner builds.
MODELS = _registry("model", "models.reconstructors", mmengine_registry.MODELS)
DATASETS = _registry("dataset", "datasets", mmengine_registry.DATASETS)
TRANSFORMS = _registry("transform", "datasets.transforms", mmengine_registry.TRANSFORMS)
DATA_SAMPLERS = _registry("data sampler", "datasets", mmengine_registry.DATA_SAMPLERS)
METRICS = _registry("metric", "evaluation", mmengine_registry.METRICS)
HOOKS = _registry("hook", "engine", mmengine_registry.HOOKS)
VISUALIZERS = _registry("visualizer", "visualization", mmengine_registry.VISUALIZERS)
OPTIM_WRAPPERS = _registry("optimizer wrapper", "engine", mmengine_registry.OPTIM_WRAPPERS)

# Built by the runner, too; the toolbox has none of its own yet, but a look-up in its scope has to find a registry.
RUNNERS = _registry("runner", "engine", mmengine_registry.RUNNERS)
LOOPS = _registry("loop", "engine", mmengine_registry.LOOPS)
OPTIMIZERS = _registry("optimizer", "engine", mmengine_registry.OPTIMIZERS)
OPTIM_WRAPPER_CONSTRUCTORS = _registry(
    "optimizer wrapper constructor", "engine", mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS
)
PARAM_SCHEDULERS = _registry("parameter scheduler", "engine", mmengine_registry.PARAM_SCHEDULERS)
MODEL_WRAPPERS = _registry("model wrapper", "engine", mmengine_registry.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _registry("weight initializer", "engine", mmengine_registry.WEIGHT_INITIALIZERS)
EVALUATOR = _registry("evaluator", "engine", mmengine_registry.EVALUATOR)
LOG_PROCESSORS = _registry("log processor", "engine", mmengine_registry.LOG_PROCESSORS)
VISBACKENDS = _registry("visualizer backend", "engine", mmengine_registry.VISBACKENDS)
FUNCTIONS = _registry("function", "engine", mmengine_registry.FUNCTIONS)

# What the toolbox's own components are made of.
BACKBONES = _registry("backbone", "models.backbones")
COST_VOLUMES = _registry("cost volume", "models.cost_volumes")
NECKS = _registry("neck", "models.necks")
HEADS = _registry("head", "models.heads")
LOSSES = _registry("loss", "models.losses")
SCENES = _registry("scene", "datasets.scenes")
RENDERERS = _registry("renderer", "rendering")

REGISTRIES = {
    "MODELS": MODELS,
    "BACKBONES": BACKBONES,
    "COST_VOLUMES": COST_VOLUMES,
    "NECKS": NECKS,
    "HEADS": HEADS,
    "LOSSES": LOSSES,
    "DATASETS": DATASETS,
    "SCENES": SCENES,
    "RENDERERS": RENDERERS,
    "TRANSFORMS": TRANSFORMS,
    "DATA_SAMPLERS": DATA_SAMPLERS,
    "METRICS": METRICS,
    "HOOKS": HOOKS,
    "VISUALIZERS": VISUALIZERS,
    "OPTIM_WRAPPERS": OPTIM_WRAPPERS,
    "RUNNERS": RUNNERS,
    "LOOPS": LOOPS,
    "OPTIMIZERS": OPTIMIZERS,
    "OPTIM_WRAPPER_CONSTRUCTORS": OPTIM_WRAPPER_CONSTRUCTORS,
    "PARAM_SCHEDULERS": PARAM_SCHEDULERS,
    "MODEL_WRAPPERS": MODEL_WRAPPERS,
    "WEIGHT_INITIALIZERS": WEIGHT_INITIALIZERS,
    "EVALUATOR": EVALUATOR,
    "LOG_PROCESSORS": LOG_PROCESSORS,
    "VISBACKENDS": VISBACKENDS,
    "FUNCTIONS": FUNCTIONS,
}
