"""Voxels to try things on."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from toolbox.sparse import SparseTensor


def random_coords(num: int, batch_size: int, size: tuple[int, int, int], seed: int, low: int = -4) -> Tensor:
    """Different voxels in no order, with negative coordinates."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(batch_size * size[0] * size[1] * size[2], generator=generator)[:num]
    batch, x, y, z = torch.unravel_index(cells, (batch_size, *size))
    return torch.stack((batch, x + low, y + low, z + low), dim=1).int()


@pytest.fixture
def scattered() -> Callable[..., SparseTensor]:
    """Makes tensors of scattered voxels: (num, channels, batch_size, dtype, seed) -> tensor."""

    def make(
        num: int = 60, channels: int = 3, batch_size: int = 2, dtype: torch.dtype = torch.float64, seed: int = 3
    ) -> SparseTensor:
        coords = random_coords(num, batch_size, (6, 5, 7), seed)
        feats = torch.randn(num, channels, generator=torch.Generator().manual_seed(seed + 1), dtype=dtype)
        return SparseTensor(coords, feats)

    return make
