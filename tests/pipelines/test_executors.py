"""Every executor gives the same results in the same order, and loses nothing when a job fails."""

import os
import signal
from pathlib import Path

import pytest

from toolbox.errors import UserError
from toolbox.pipelines.executors import EXECUTORS, map_scenes


def square(value: int) -> tuple[int, int]:
    return value * value, os.getpid()


def write_unless_odd(job: tuple[Path, int]) -> int:
    folder, number = job
    if number % 2:
        raise UserError(f"scene {number}", "has no views", "Give it some")
    (folder / str(number)).write_text("done")
    return number


def kill_own_process(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_results_come_in_the_order_of_the_jobs(executor: str) -> None:
    steps = []
    results = map_scenes(square, [3, 1, 4], executor, 2, lambda done, total: steps.append((done, total)))
    assert [value for value, _ in results] == [9, 1, 16]
    assert steps == [(n, 3) for n in range(1, 4)]
    elsewhere = {process for _, process in results} - {os.getpid()}
    assert bool(elsewhere) == (executor != "serial")


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_failed_scene_does_not_stop_the_others(executor: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^scene 1: has no views"):
        map_scenes(write_unless_odd, [(tmp_path, n) for n in (0, 1, 2)], "serial")
    with pytest.raises(UserError, match=r"2 of 5 scenes: failed .*scene 1.*scene 3"):
        map_scenes(write_unless_odd, [(tmp_path, n) for n in range(5)], executor)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "4"]


def test_a_killed_worker_is_reported() -> None:
    with pytest.raises(UserError, match="fewer workers"):
        map_scenes(kill_own_process, [0, 1], "process", 2)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_no_jobs_no_results(executor: str) -> None:
    assert map_scenes(square, [], executor) == []


def test_unknown_executors_and_workers_are_named() -> None:
    with pytest.raises(UserError, match="serial, process, ray"):
        map_scenes(square, [1], "threads")
    with pytest.raises(UserError, match="workers=0"):
        map_scenes(square, [1], "process", 0)
