import threading

import numba
import numpy as np
import pytest
import torch

from toolbox.compiled import run as run_module
from toolbox.compiled.run import run


@pytest.fixture
def threads():
    """Sets the number of PyTorch's threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def used(count):
    """Which threads had a part in a loop; Numba can tell once it has started threads."""
    numbers = np.zeros(count, np.int64)
    for i in numba.prange(count):
        numbers[i] = numba.get_thread_id()
    return numbers


def fill(count):
    numbers = np.zeros(count)
    for i in numba.prange(count):
        numbers[i] = i
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
    assert len(run(fill, 100)) == 100


def test_several_callers_at_once(threads):
    threads(2)
    results = []
    callers = [threading.Thread(target=lambda: results.append(run(fill, 1000))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert len(results) == 8 and all((result == np.arange(1000)).all() for result in results)


def test_works_where_nothing_can_be_kept(monkeypatch):
    class FullDisk:
        def __init__(self, function, options):
            self.function, self.kept = function, options.get("cache", False)

        def __call__(self, *arguments):
            if self.kept:
                raise OSError("No space left on device")
            return self.function(*arguments)

    monkeypatch.setattr(numba, "njit", lambda **options: lambda function: FullDisk(function, options))
    assert run(lambda: 3) == 3

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert run(lambda: 4) == 4


def test_what_is_kept_is_told_apart_by_files_and_by_threads(monkeypatch):
    monkeypatch.setattr(numba, "njit", lambda **options: lambda function: function)
    names = []
    for sources in ("a", "b"):
        monkeypatch.setattr(run_module, "_sources", lambda folder, sources=sources: sources)
        for parallel in (False, True):
            names.append(run_module._compiled(lambda: 5, parallel, True).__qualname__)
    assert [name.rsplit("-", 2)[1:] for name in names] == [
        [kind, sources] for sources in "ab" for kind in ("serial", "parallel")
    ]


def test_files_that_change_are_noticed(tmp_path):
    (tmp_path / "a.py").write_text("1")
    before = run_module._sources(tmp_path)
    run_module._sources.cache_clear()
    assert run_module._sources(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    run_module._sources.cache_clear()
    assert run_module._sources(tmp_path) != before


@pytest.mark.filterwarnings("ignore")
def test_pytorchs_compiler_leaves_it_alone():
    def double(x):
        return 2 * torch.from_numpy(run(fill, len(x))) + x

    compiled = torch.compile(double, backend="eager")
    assert compiled(torch.ones(5, dtype=torch.float64)).tolist() == [1, 3, 5, 7, 9]
