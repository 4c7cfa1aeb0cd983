"""What is measured: ours, a reference, a peer or another version, each in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolbox.errors import UserError

from .work import Size

_CHILD = Path(__file__).with_name("child.py")


@dataclass
class Contender:
    """A process that does a work whenever it is asked to; a context manager, which ends it.

    Attributes:
        kind: 'ours'; 'reference' (of the work); 'adapter' (``build(work)`` of the file ``path``); 'version' (ours, with
            the toolbox of the folder ``path``); 'yardstick' (the machine's limits).
        runs: what was measured so far, in order.
        start: what was there before the first run: memory, threads, the work's cost.
    """

    kind: str
    work: str = ""
    settings: Size = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    clock: str = "wall"
    path: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> "Contender":
        spec = {
            name: getattr(self, name) for name in ("kind", "work", "settings", "device", "threads", "clock", "path")
        }
        # Threads that wait would slow the other contenders down.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        if self.threads:
            environment |= {f"{library}_NUM_THREADS": str(self.threads) for library in ("OMP", "OPENBLAS", "MKL")}
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.start = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self) -> None:
        """Do the work once."""
        self.runs.append(self._ask("run"))

    def outputs(self, path: Path) -> dict[str, np.ndarray]:
        """What the last run gave; ``path`` is a scratch file (.npz)."""
        self._ask(f"save {path}")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def _ask(self, command: str) -> dict[str, Any]:
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise UserError(
                f"{self.kind} of {self.work or 'the machine'}",
                f"ended with status {self._process.wait()}; its own words are above",
                "Mend what it says; where it was killed, take a smaller size",
            )
        return json.loads(line)
