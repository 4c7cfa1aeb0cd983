"""Numba's functions on as many threads as PyTorch may use."""

import functools
import inspect
import os
import threading
from collections.abc import Callable
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
    on an item of their own.
    """
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    if threads == 1:
        return _compiled(function, False)(*arguments)
    with _LOCK:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            return _compiled(function, True)(*arguments)
        finally:
            numba.set_num_threads(before)


@functools.cache
def _compiled(function: Callable, parallel: bool) -> Callable:
    # Numba reads the function's own code, and not that of a type checker around it.
    return numba.njit(nogil=True, parallel=parallel, boundscheck=False)(inspect.unwrap(function))
