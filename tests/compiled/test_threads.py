import threading

import numba
import numpy as np
import pytest
import torch

from toolbox.compiled.threads import run


@pytest.fixture
def threads():
    """Sets the number of PyTorch's threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def used(count):
    """Which threads had a part in a loop."""
    numbers = np.zeros(count, np.int64)
    for i in numba.prange(count):
        numbers[i] = numba.get_thread_id()
    return numbers


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="the processor has one core")
def test_as_many_threads_as_pytorch_may_use(threads):
    threads(2)
    before = numba.get_num_threads()
    assert set(run(used, 8)) == {0, 1}
    threads(1)
    assert set(run(used, 8)) == {0}
    assert numba.get_num_threads() == before


def test_never_more_threads_than_numba_has(threads):
    threads(numba.config.NUMBA_NUM_THREADS + 3)
    assert len(run(used, 100)) == 100


def fill(count):
    numbers = np.zeros(count)
    for i in numba.prange(count):
        numbers[i] = i
    return numbers


def test_several_callers_at_once(threads):
    threads(2)
    results = []
    callers = [threading.Thread(target=lambda: results.append(run(fill, 1000))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert len(results) == 8 and all((result == np.arange(1000)).all() for result in results)
