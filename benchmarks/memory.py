"""Memory of this process."""

import resource
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """What the process holds in memory now."""
    return _status("VmRSS")


def forget_peak() -> None:
    """Let the peak start from what is held now, where the system allows it."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int:
    """The most that was held since ``forget_peak``."""
    return _status("VmHWM")


def gpu_peak_bytes() -> int:
    """The most that tensors held on the GPU since ``forget_peak``; 0 without one."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def _status(field: str) -> int:
    if not _STATUS.exists():  # not Linux: the largest ever, of the process
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else 1024 * largest
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
