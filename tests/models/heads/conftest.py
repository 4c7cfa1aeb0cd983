"""The published multiplane images."""

import pytest
import torch


@pytest.fixture(scope="session")
def golden_mpi(shared) -> dict:
    return torch.load(shared / "golden/msr/mpi.pt", weights_only=True)
