"""Pickles of plain numbers, read without running anything that they say.

The pickle's own instructions make lists, dicts, tuples, strings and numbers. For everything else it names a function to
import and call; here each allowed name stands for a function of this file. Not even numpy's own are called: with the
forged state of a dtype they would follow forged pointers.
"""

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from toolbox.errors import UserError

_NUMBERS = re.compile(r"[<>|=]?([biufc]\d{1,2}|\?)")


class _NumberType:
    """In place of numpy.dtype: kinds of numbers only."""

    def __init__(self, code: str, *_: object):
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, which are no numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """In place of numpy.ndarray: an array of numbers."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        values = _from_bytes(data, kind, shape, "F" if fortran else "C")
        super().__setstate__((1, values.shape, values.dtype, False, values.tobytes()))


def _from_bytes(data: bytes | bytearray, kind: _NumberType, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    values = np.frombuffer(bytes(data), kind.dtype).reshape(shape, order=order)
    return values.astype(kind.dtype.newbyteorder("="))


def _empty_array(*_: object) -> _Array:
    return np.zeros(0).view(_Array)


def _scalar(kind: _NumberType, data: bytes | bytearray) -> np.generic:
    return _from_bytes(data, kind, (1,))[0]


def _no_bytes() -> bytes:
    return b""


def _latin_bytes(text: str, *_: object) -> bytes:
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # named, but never called
    ("numpy", "dtype"): _NumberType,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _latin_bytes,  # how old pickles write bytes
}
for _module in ("builtins", "__builtin__"):
    _ALLOWED[_module, "bytes"] = _no_bytes  # how old pickles write none
    _ALLOWED |= {(_module, kind.__name__): kind for kind in (set, frozenset)}
for _core in ("core", "_core"):  # numpy renamed it; old and new pickles name either
    _ALLOWED[f"numpy.{_core}.multiarray", "_reconstruct"] = _empty_array
    _ALLOWED[f"numpy.{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"numpy.{_core}.numeric", "_frombuffer"] = _from_bytes


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it would import {module}.{name}")
        return _ALLOWED[module, name]


def read_plain_pickle(path: str | Path) -> Any:
    """Unpickle plain containers, strings, numbers and numpy arrays of numbers, and nothing else.

    Raises:
        UserError: the file is missing or damaged, or asks for a class (named in the error) that is none of these.
    """
    try:
        with Path(path).open("rb") as file:
            return _RestrictedUnpickler(file).load()
    except pickle.UnpicklingError as error:
        raise UserError(
            path, f"is refused: {error}", "Use only files of plain numbers; this one may run code"
        ) from error
    except Exception as error:  # damaged pickles fail in many ways
        raise UserError(path, f"cannot be read as a pickle ({error})", "Restore the file") from error
