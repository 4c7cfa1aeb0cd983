"""Several processes: NCCL where there are GPUs, gloo where there are none."""

import atexit
import datetime
import os
import subprocess
import time

import torch
from mmengine.dist import init_dist, is_distributed

from toolbox.errors import UserError

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
# What each launcher calls this process's rank, its rank on the machine, and the number of processes.
_VARIABLES = {
    "pytorch": ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    "slurm": ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
}


def init_distributed(launcher: str, backend: str | None = None, timeout: int = 1800, **options: object) -> None:
    """Join the process group of a launcher; nothing to do for 'none' or where the group exists.

    Args:
        launcher: 'none', 'pytorch' (torchrun), 'slurm' or 'mpi'.
        backend: 'nccl' or 'gloo'; None chooses by the hardware.
        timeout: seconds that a collective may take.
        options: more of ``torch.distributed.init_process_group``.

    Raises:
        UserError: the launcher's environment variables are missing.
    """
    if launcher == "none" or is_distributed():
        return
    missing = [name for name in _VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise UserError(
            f"--launcher {launcher}",
            f"this process was not started by that launcher (no {', '.join(missing)} in the environment)",
            "Start it by tools/dist_train.sh, torchrun, srun or mpirun, or leave --launcher out",
        )
    if torch.cuda.is_available():
        init_dist(launcher, backend=backend or "nccl", timeout=timeout, **options)
        return
    rank, local_rank, world_size = (os.environ[name] for name in _VARIABLES[launcher])
    os.environ.update(RANK=rank, LOCAL_RANK=local_rank, WORLD_SIZE=world_size)
    os.environ.setdefault("MASTER_PORT", "29500")
    if launcher == "slurm" and "MASTER_ADDR" not in os.environ:
        os.environ["MASTER_ADDR"] = _first_slurm_host()
    os.environ.setdefault("MASTER_ADDR", "localhost")
    atexit.register(_let_gloo_finish)
    torch.distributed.init_process_group(backend or "gloo", timeout=datetime.timedelta(seconds=timeout), **options)


def _let_gloo_finish() -> None:
    """Wait until gloo's threads have given back the tensors of the last collective.

    They need the interpreter for that; once it is ending they abort the process, after all its work is done.
    """
    time.sleep(0.2)  # without the interpreter lock


def _first_slurm_host() -> str:
    listed = subprocess.run(
        ["scontrol", "show", "hostname", os.environ["SLURM_NODELIST"]], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()[0]
