"""Functions that Numba compiles, on as many threads as PyTorch may use."""

import functools
import hashlib
import inspect
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import torch

# OpenMP's are PyTorch's own threads, where both find one library; others would wait for cores that those still hold.
if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
    numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
# The last of these serves one caller at a time.
_LOCK = threading.Lock()


def run(function: Callable, *arguments: Any) -> Any:
    """Call a function that Numba compiles for these arguments; threads share its loops over ``numba.prange``.

    Where PyTorch may use one thread, none is started: in the processes of a data loader, and in threads that each work
    on an item of their own. What is compiled is kept for later processes, where Numba finds a folder to write to.

    Args:
        function: what it takes from outside are modules, functions and numbers.
    """
    if torch.compiler.is_compiling():  # PyTorch's compiler is not to look into Numba's
        return torch.compiler.disable(_run)(function, *arguments)
    return _run(function, *arguments)


def _run(function: Callable, *arguments: Any) -> Any:
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    if threads == 1:
        return _call(function, False, arguments)
    with _LOCK:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            return _call(function, True, arguments)
        finally:
            numba.set_num_threads(before)


def _call(function: Callable, parallel: bool, arguments: tuple) -> Any:
    try:
        return _compiled(function, parallel, True)(*arguments)
    except OSError:  # of keeping it: a full disk, say
        return _compiled(function, parallel, False)(*arguments)


@functools.cache
def _compiled(function: Callable, parallel: bool, kept: bool) -> Callable:
    # Numba reads the function's own code, and not that of a type checker around it.
    function = inspect.unwrap(function)
    function = FunctionType(function.__code__, function.__globals__, closure=function.__closure__)
    # Of what it has kept Numba takes what has this name, unless the function's own file has changed.
    folder = Path(inspect.getfile(function)).parent
    function.__qualname__ += f"-{'parallel' if parallel else 'serial'}-{_sources(folder)}"
    options = {"nogil": True, "parallel": parallel, "error_model": "numpy"}
    try:
        return numba.njit(cache=kept, **options)(function)
    except RuntimeError:  # there is no folder to write to
        return numba.njit(**options)(function)


@functools.cache
def _sources(folder: Path) -> str:
    """What tells one state of the files from another: those of a folder, and of this one."""
    files = sorted({*folder.glob("*.py"), *Path(__file__).parent.glob("*.py")})
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
