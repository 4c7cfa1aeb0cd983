import threading
import time

import pytest
import torch

from toolbox.fusion.threads import in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_that_work_alone(two_threads):
    meeting = threading.Barrier(2, timeout=20)  # passed only by two at the same time

    def work(item: int) -> tuple[int, int]:
        meeting.wait()
        time.sleep(0.02 * (item % 2 == 0))
        return item, torch.get_num_threads()

    assert list(in_threads(work, range(6))) == [(i, 1) for i in range(6)]
    assert torch.get_num_threads() == 2


def test_one_thread_needs_no_pool():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = list(in_threads(lambda _: threading.current_thread(), range(3)))
    finally:
        torch.set_num_threads(before)
    assert found == [threading.main_thread()] * 3


def test_results_that_nobody_takes_are_not_made(two_threads):
    started = []
    for _ in in_threads(started.append, range(50)):
        break
    assert len(started) < 8


def test_errors_reach_the_caller(two_threads):
    def work(item: int) -> int:
        return 1 // (2 - item)

    results = in_threads(work, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert torch.get_num_threads() == 2
