"""One contender in a process of its own; started by ``benchmarks.contender``, obeys a line of its input at a time."""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.pop(0)  # this folder, whose modules are benchmarks.NAME


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def _make_run(spec: dict):
    """What is to be measured."""
    from benchmarks.work import find_work
    from benchmarks.yardstick import yardstick

    if spec["kind"] == "yardstick":
        return yardstick(spec["device"], CLOCKS[spec["clock"]]), None
    work = find_work(spec["work"])(device=spec["device"], **spec["settings"])
    if spec["kind"] == "adapter":
        location = importlib.util.spec_from_file_location("adapter", spec["path"])
        adapter = importlib.util.module_from_spec(location)
        location.loader.exec_module(adapter)
        return adapter.build(work), work
    return (work.reference() if spec["kind"] == "reference" else work.ours()), work


def _time(run, device: str, clock: str) -> dict:
    import torch

    from benchmarks import memory

    def synchronise() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    synchronise()
    started = CLOCKS[clock]()
    result = run()
    synchronise()
    facts = {"seconds": CLOCKS[clock]() - started}
    facts |= {"peak_bytes": memory.peak_bytes(), "gpu_peak_bytes": memory.gpu_peak_bytes()}
    return facts | {"result": result}


def _save(result: dict, path: str) -> None:
    import numpy as np
    import torch

    def array(value) -> np.ndarray:
        value = value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        return value.astype(np.float64)

    np.savez(path, **{name: array(value) for name, value in result.items()})


def serve(spec: dict) -> None:
    """Obey the commands 'run', 'save PATH' and the end of the input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    if spec["kind"] == "version":
        sys.path.insert(0, spec["path"])
        import toolbox

        if not Path(toolbox.__file__).is_relative_to(spec["path"]):
            raise ImportError(f"{spec['path']} holds no toolbox")
    sys.path.insert(0, str(ROOT))
    import torch

    from benchmarks import memory

    if spec["threads"]:
        import cv2

        torch.set_num_threads(spec["threads"])
        cv2.setNumThreads(spec["threads"])
    run, work = _make_run(spec)
    cost = work.cost() if work else None
    start = memory.resident_bytes()
    memory.forget_peak()
    costs = {"flops": cost.flops, "moved_bytes": cost.moved_bytes} if cost else {}
    print(json.dumps({"start_bytes": start, "threads": torch.get_num_threads(), **costs}), file=answers)
    result = None
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "run":
            facts = _time(run, spec["device"], spec["clock"])
            result = facts.pop("result")
            if spec["kind"] == "yardstick":
                facts |= result
            print(json.dumps(facts), file=answers)
        elif command == "save":
            _save(result, argument)
            print("{}", file=answers)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
