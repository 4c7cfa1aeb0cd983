"""Configs from files and the command line; mistakes in them end in one paragraph."""

import ast
import contextlib
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.utils import import_modules_from_strings

from toolbox.errors import UserError

# What a runner understands, and may be set though a config does not mention it.
RUNNER_OPTIONS = (
    "auto_scale_lr",
    "activation_checkpointing",
    "compile",
    "custom_hooks",
    "custom_imports",
    "data_preprocessor",
    "default_hooks",
    "default_scope",
    "env_cfg",
    "experiment_name",
    "find_unused_parameters",
    "load_from",
    "log_level",
    "log_processor",
    "model_wrapper_cfg",
    "param_scheduler",
    "randomness",
    "resume",
    "strict_load",
    "sync_bn",
    "visualizer",
    "work_dir",
)


def load_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Read a config file and set options on top; its ``custom_imports`` are imported.

    Modules of ``custom_imports`` are looked for in PYTHONPATH, then in the working directory, then beside the config.

    Args:
        path: a Python (or JSON or YAML) config file.
        options: 'a.b=value' each, as ``parse_options`` reads them.

    Raises:
        UserError: the file is missing or wrong, one of its imports fails, or an option names nothing in it.
    """
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=3)
        hint = f"Near it lie: {', '.join(near)}" if near else "Check the path"
        raise UserError(path, "there is no config file of that name", hint)
    for folder in (str(Path.cwd()), str(path.resolve().parent)):
        if folder not in sys.path:
            sys.path.append(folder)
    parsed = parse_options(options)
    try:
        config = Config.fromfile(path)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            path, f"an import of this config fails ({error})", "Check its custom_imports and PYTHONPATH"
        ) from error
    except Exception as error:
        raise UserError(
            path, f"the config cannot be read ({type(error).__name__}: {error})", "Mend it; configs/ holds working ones"
        ) from error
    for key in parsed:
        _check_key(config, key, path)
    _merge(config, parsed, path)
    return config


def parse_options(options: Sequence[str]) -> dict[str, object]:
    """Read 'key=value' strings: numbers, true/false, None, and lists and tuples of them in brackets.

    Raises:
        UserError: one has no '=', or its brackets do not match.
    """
    parsed = {}
    for option in options:
        key, equals, value = option.partition("=")
        remedy = "Write --cfg-options key=value, e.g. train_cfg.max_iters=100 or 'model.channels=[8,16]'"
        if not key or not equals:
            raise UserError(f"--cfg-options {option}", "is not of the form key=value", remedy)
        try:
            parsed[key] = _parse_value(value)
        except (AssertionError, ValueError, IndexError) as error:
            raise UserError(f"--cfg-options {option}", "has a value that cannot be read", remedy) from error
    return parsed


def _parse_value(text: str) -> object:
    """A Python literal where it is one (dicts, quoted strings), else as mmengine reads it (bare words, 1,2,3)."""
    if text[:1] in tuple("{[('\""):
        with contextlib.suppress(SyntaxError, ValueError):
            return ast.literal_eval(text)
    return DictAction._parse_iterable(text)


def _check_key(config: Config, key: str, path: Path) -> None:
    """An option's last name may be new (a component's default), what it stands in may not: that is a misspelling."""
    place, walked = config._cfg_dict, ""
    names = key.split(".")
    for depth, name in enumerate(names):
        known = [str(i) for i in range(len(place))] if isinstance(place, list | tuple) else list(map(str, place))
        if depth == 0:
            known += RUNNER_OPTIONS
        if name not in known and (depth == 0 or depth + 1 < len(names) or isinstance(place, list | tuple)):
            near = difflib.get_close_matches(name, known, n=3) or known
            raise UserError(
                f"--cfg-options {key}",
                f"{path} has no '{name}'" + (f" in '{walked}'" if walked else ""),
                f"It has: {', '.join(near[:12])}",
            )
        walked = f"{walked}.{name}" if walked else name
        if depth + 1 == len(names):
            return
        place = place[int(name)] if isinstance(place, list | tuple) else place.get(name, {})
        if not isinstance(place, dict | list | tuple):
            raise UserError(
                f"--cfg-options {key}", f"'{walked}' is a value, with nothing in it to set", "Set it itself"
            )


def _merge(config: Config, options: dict[str, object], path: Path) -> None:
    try:
        config.merge_from_dict(options)
        if "custom_imports" in {key.split(".")[0] for key in options}:
            import_modules_from_strings(**config.custom_imports)
    except Exception as error:
        raise UserError(
            "--cfg-options", f"cannot be set on {path} ({type(error).__name__}: {error})", "Check keys and values"
        ) from error


@contextlib.contextmanager
def config_mistakes(config: Config) -> Iterator[None]:
    """Tell options that a component does not take, or lacks, as the mistake of the config that they are.

    Raises:
        UserError: a class named by a ``type`` in the config was built with the wrong options.
    """
    try:
        yield
    except TypeError as error:
        found = re.search(r"(\w+)\.__init__\(\) (got an unexpected keyword argument .+|missing .+)", str(error))
        if found is None or found[1] not in _types(config._cfg_dict):
            raise
        raise UserError(
            f"type='{found[1]}'",
            f"its options in {config.filename} do not fit: {found[2]}",
            "Correct them; its docstring lists what it takes",
        ) from error


def _types(node: object) -> set[str]:
    """Names of all components in a config."""
    if isinstance(node, dict):
        named = node.get("type")
        own = {named.split(".")[-1] if isinstance(named, str) else getattr(named, "__name__", "")} if named else set()
        return own.union(*(_types(value) for value in node.values()))
    if isinstance(node, list | tuple):
        return set().union(*(_types(value) for value in node))
    return set()
