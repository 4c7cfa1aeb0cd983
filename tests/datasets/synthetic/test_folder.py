"""Running tasks on threads."""

import time

import pytest
import torch
from tqdm import tqdm

from toolbox.datasets.synthetic.folder import run_all


def test_every_task_runs_and_moves_the_bar():
    done = []
    before = torch.get_num_threads()
    with tqdm(total=10) as bar:
        run_all([lambda k=k: done.append(k) for k in range(5)], 3, bar, 2)
        assert bar.n == 10
    assert sorted(done) == list(range(5))
    assert torch.get_num_threads() == before


def test_the_first_error_stops_the_rest():
    done = []

    def slow() -> None:
        time.sleep(0.01)
        done.append(1)

    def fail() -> None:
        raise OSError("disk full")

    with tqdm(total=200) as bar, pytest.raises(OSError, match="disk full"):
        run_all([fail, *([slow] * 199)], 1, bar, 1)
    assert len(done) < 100
