"""One function over many scenes: one after the other, in processes of this machine, or on a Ray cluster."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from toolbox.errors import UserError

EXECUTORS: tuple[str, ...] = ("serial", "process", "ray")

Job = TypeVar("Job")
Result = TypeVar("Result")
Outcome = Result | UserError


def map_scenes(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    executor: str = "serial",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """The function's result for every job, in the jobs' order, whatever computes them.

    A job that fails by a ``UserError`` does not stop the others: what they write is kept, and all faults are reported
    at the end.

    Args:
        function: of a module (not a lambda), so that another process can find it; its jobs and results can be pickled.
        executor: 'serial'; 'process' (of this machine, each with its share of the cores); 'ray' (the cluster that
            ``RAY_ADDRESS`` names, or one of this machine).
        workers: jobs at the same time; None: as many as there are cores, or as the cluster takes.
        progress: called with (jobs ended, jobs in all).

    Raises:
        UserError: no such executor, Ray is not installed, a worker was killed, or jobs failed by one.
    """
    if executor not in EXECUTORS:
        raise UserError(f"executor='{executor}'", "is none", f"Choose one of {', '.join(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}", "must be at least 1", "Leave it out to use all cores")
    if not jobs:
        return []
    run = {"serial": _serial, "process": _processes, "ray": _ray}[executor]
    outcomes: dict[int, Outcome] = {}
    for index, outcome in run(function, jobs, workers):
        outcomes[index] = outcome
        if progress:
            progress(len(outcomes), len(jobs))
    results = [outcomes[index] for index in range(len(jobs))]
    faults = [outcome for outcome in results if isinstance(outcome, UserError)]
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise UserError(
            f"{len(faults)} of {len(jobs)} scenes",
            "failed (the results of the others are kept): " + " | ".join(map(str, faults)),
            "Mend each cause and run again",
        )
    return results


def _attempt(function: Callable[[Job], Result], job: Job, threads: int | None = None) -> Outcome:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    try:
        return function(job)
    except UserError as error:
        return error


def _serial(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None
) -> Iterator[tuple[int, Outcome]]:
    for index, job in enumerate(jobs):
        yield index, _attempt(function, job)


def _processes(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None
) -> Iterator[tuple[int, Outcome]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(workers or cores, max(len(jobs), 1))
    # Spawned, not forked: a fork copies locks that threads of torch and OpenMP hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {
            pool.submit(_attempt, function, job, max(1, cores // workers)): index for index, job in enumerate(jobs)
        }
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process",
                    "was killed, most often for want of memory",
                    "Run again with fewer workers; scenes already done are kept",
                ) from error


def _ray(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[int, Outcome]]:
    try:
        import ray
    except ImportError as error:
        raise UserError("executor='ray'", "Ray is not installed", "pip install ray, or choose 'process'") from error
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False)
    try:
        attempt = ray.remote(_attempt)
        waiting = list(enumerate(jobs))[::-1]
        running: dict = {}
        while waiting or running:
            while waiting and (workers is None or len(running) < workers):
                index, job = waiting.pop()
                running[attempt.remote(function, job)] = index
            (ended,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(ended), ray.get(ended)
    finally:
        if started_here:
            ray.shutdown()
