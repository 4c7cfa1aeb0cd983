"""Process groups on a CPU, as each launcher announces them (tests/tools/test_train.py runs two processes)."""

import socket

import pytest
import torch

from toolbox.engine import init_distributed
from toolbox.errors import UserError

ENVIRONMENTS = {
    "pytorch": {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
    "mpi": {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
    "slurm": {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1"},
}


@pytest.fixture
def environment(monkeypatch) -> pytest.MonkeyPatch:
    """No launcher's variables, and a free port."""
    for name in {name for variables in ENVIRONMENTS.values() for name in variables}:
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        monkeypatch.setenv("MASTER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    return monkeypatch


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with GPUs takes NCCL")
@pytest.mark.parametrize("launcher", ENVIRONMENTS)
def test_each_launcher_gets_gloo_without_a_gpu(environment, launcher):
    # Set all three names first, so that what is added to the environment is taken back at the end.
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        environment.setenv(name, "0")
    for name, value in ENVIRONMENTS[launcher].items():
        environment.setenv(name, value)
    init_distributed(launcher, timeout=20)
    try:
        assert torch.distributed.get_backend() == "gloo"
        assert torch.distributed.get_world_size() == 1
        init_distributed(launcher)  # once is enough
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("launcher", ENVIRONMENTS)
def test_a_process_of_no_launcher_is_told(environment, launcher):
    with pytest.raises(UserError, match=rf"--launcher {launcher}: this process was not started by that launcher"):
        init_distributed(launcher)


def test_one_process_needs_no_group(environment):
    init_distributed("none")
    assert not torch.distributed.is_initialized()
