"""Safe loading of checkpoints: tensors and plain values, never code.

A checkpoint is a pickle, and a pickle can run anything. ``torch.load(weights_only=True)`` builds nothing but tensors,
containers and what is listed as safe. Listed here is what mmengine itself writes beside them: its history buffers, and
numpy arrays and scalars of numbers.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.io import download_weights, is_address, read_weights

_DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "S1", "U1")
_HARMLESS_PREFIX = re.compile(r"^module\.")


class _History(HistoryBuffer):
    """Takes the place of mmengine's HistoryBuffer while a file is read: takes its numbers and no functions."""

    def __setstate__(self, state: dict) -> None:
        self._set_default_statistics()
        numbers = ("max_length", "_log_history", "_count_history")
        self.__dict__.update({name: state[name] for name in numbers})
        self.__class__ = HistoryBuffer


def _attribute_name(owner: object, name: str) -> str:
    """Takes the place of ``getattr``, by which a HistoryBuffer refers to its own methods: nothing is looked up."""
    return name


def _safe_globals() -> list:
    """What a file may name beside tensors and containers: history buffers, numpy arrays and scalars of numbers.

    numpy 1 and 2 call the makers of arrays and scalars by different names.
    """
    array_maker, scalar_maker = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    makers = [
        (maker, f"numpy.{core}.multiarray.{name}")
        for maker, name in ((array_maker, "_reconstruct"), (scalar_maker, "scalar"))
        for core in ("core", "_core")
    ]
    history = [(_History, "mmengine.logging.history_buffer.HistoryBuffer"), (_attribute_name, "builtins.getattr")]
    dtypes = {type(np.dtype(code)) for code in _DTYPES} - {np.dtype}
    return [*history, np.ndarray, np.dtype, *dtypes, *makers]


def load_checkpoint_file(path: str | Path, map_location: str | torch.device | Callable | None = "cpu") -> dict:
    """Read a checkpoint without running anything in it.

    Args:
        path: a file, or its address (downloaded once into torch's cache).
        map_location: where the tensors go, as in ``torch.load``.

    Raises:
        UserError: the file is missing, truncated, holds something other than a dict, or needs code to be unpickled;
            names the file and what it asks for.
    """
    file = download_weights(path) if is_address(path) else path
    return read_weights(file, map_location, _safe_globals())


def state_dict_of(checkpoint: dict, path: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint: under 'state_dict', or the dict itself; 'module.' of data parallelism is dropped.

    Raises:
        UserError: there are none.
    """
    weights = checkpoint.get("state_dict", checkpoint)
    if not isinstance(weights, dict) or not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        keys = ", ".join(map(str, list(checkpoint)[:5]))
        raise UserError(
            path,
            f"the checkpoint holds no weights (it has: {keys or 'nothing'})",
            "Give a checkpoint written by tools/train.py; published ones go through tools/convert_checkpoint.py first",
        )
    return {_HARMLESS_PREFIX.sub("", name): value for name, value in weights.items()}


def check_weights(model: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    """Raise unless ``weights`` are exactly those of ``model`` (counters of batches seen may be absent).

    Raises:
        UserError: names the file, how many weights are missing, unknown or of another shape, and examples.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unknown = [name for name in weights if name not in own]
    reshaped = [
        f"{name} is {tuple(weights[name].shape)} and not {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    faults = [
        f"{len(names)} {what} (e.g. {names[0]})"
        for names, what in (
            (missing, "weights of the model are missing"),
            (unknown, "weights are unknown to it"),
            (reshaped, "have another shape"),
        )
        if names
    ]
    if faults:
        raise UserError(
            path,
            f"the checkpoint is of another architecture than {type(model).__name__}: {'; '.join(faults)}",
            "Use the config it was trained with, or a checkpoint of this config; published checkpoints go through "
            "tools/convert_checkpoint.py first",
        )


def load_weights(model: nn.Module, path: str | Path) -> dict:
    """Load a checkpoint's weights into ``model``, all of them or none.

    Returns:
        The checkpoint's 'meta' (empty where it has none).

    Raises:
        UserError: the file cannot be read safely, or is of another architecture.
    """
    checkpoint = load_checkpoint_file(path)
    weights = state_dict_of(checkpoint, path)
    check_weights(model, weights, path)
    model.load_state_dict(weights, strict=False)
    return checkpoint.get("meta", {})


def _load_from_file(filename: str, map_location: str | None = None) -> dict:
    return load_checkpoint_file(filename, map_location)


def _load_from_torchvision(filename: str, map_location: str | None = None) -> dict:
    name = re.sub(r"^(torchvision|modelzoo)://", "", filename)
    try:
        addresses = get_torchvision_models()
    except ImportError as error:
        raise UserError(filename, "needs torchvision, which is not installed", "pip install torchvision") from error
    if name not in addresses:
        raise UserError(
            filename, "torchvision publishes no such weights", "Check the name, e.g. resnet18.imagenet1k_v1"
        )
    return load_checkpoint_file(addresses[name], map_location)


def _load_refused(filename: str, map_location: str | None = None) -> dict:
    raise UserError(
        filename,
        "checkpoints are not read through this scheme",
        "Download the file and give its path, or an http address",
    )


def register_safe_loading() -> None:
    """Make these the loaders of mmengine's runner (resume, load_from, init_cfg), for every scheme it knows."""
    for prefix in list(CheckpointLoader._schemes):
        loader = _load_refused
        if prefix in ("", "http://", "https://"):
            loader = _load_from_file
        elif prefix in ("torchvision://", "modelzoo://"):
            loader = _load_from_torchvision
        CheckpointLoader.register_scheme(prefix, loader, force=True)
