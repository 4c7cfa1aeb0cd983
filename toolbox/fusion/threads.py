"""Views worked on by several threads, their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")


def in_threads(work: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[Any]:
    """``work`` of each item, in order, by as many threads as PyTorch may use; each of them works alone.

    Operations on a few ten thousand numbers are too short to be shared by threads, and these wait for each other at the
    end of each; a thread for each view waits for nobody. At most one result more than there are threads waits to be
    taken.
    """
    count = torch.get_num_threads()
    if count == 1:
        yield from map(work, items)
        return
    pending: deque[Future] = deque()
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)  # of this thread and of new ones, which take what was set last
