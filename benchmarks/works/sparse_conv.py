"""One sparse convolution, forward and backward, on the voxels of a surface or on some of a cube's."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.work import Cost, Run, Work
from toolbox.sparse import Conv3d, SparseTensor


def surface_voxels(count: int, seed: int = 1) -> Tensor:
    """(batch, x, y, z) of a wavy sheet two voxels thick, in random order: ``count`` voxels."""
    edge = int((count / 2) ** 0.5) + 1
    x, y = torch.meshgrid(torch.arange(edge), torch.arange(edge), indexing="ij")
    z = (0.1 * edge * (torch.sin(x * 9.0 / edge) + torch.cos(y * 7.0 / edge))).round().long()
    sheets = [torch.stack((torch.zeros_like(x), x, y, z + layer), dim=-1).reshape(-1, 4) for layer in (0, 1)]
    voxels = torch.stack(sheets, dim=1).reshape(-1, 4)[:count]
    return voxels[torch.randperm(count, generator=torch.Generator().manual_seed(seed))].int()


def scattered_voxels(count: int, edge: int, seed: int = 1) -> Tensor:
    """(batch, x, y, z) of different voxels of a cube, drawn at random: ``count`` voxels."""
    place = torch.randperm(edge**3, generator=torch.Generator().manual_seed(seed))[:count]
    axes = place // edge**2, place // edge % edge, place % edge
    return torch.stack((torch.zeros_like(place), *axes), dim=-1).int()


class SparseConv(Work):
    """A submanifold convolution; its neighbours are looked for in every run, as for every new fragment.

    Args:
        edge: of the cube in which voxels are scattered; 0 is a surface.

    Attributes:
        coords, feats: the input, (n, 4) and (n, channels).
        weight: (27, channels, channels), offsets from -1 to 1, that in x running fastest.
        backward: whether gradients of features and weight are wanted, too.
    """

    sizes = {
        "tiny": {"voxels": 300, "channels": 4},
        "small": {"voxels": 20_000, "channels": 32},
        "user": {"voxels": 200_000, "channels": 96},
        "forward": {"voxels": 20_000, "channels": 32, "backward": 0},
        "scattered": {"voxels": 20_000, "channels": 64, "edge": 64},
    }
    reference_name = "dictionary of neighbours, 27 products"
    growth = {
        "voxels": {n: {"voxels": n} for n in (10_000, 20_000, 40_000, 80_000, 160_000)},
        "channels": {n: {"channels": n} for n in (16, 32, 64, 128)},
    }

    def __init__(self, device: str, voxels: int, channels: int, backward: int = 1, edge: int = 0):
        generator = torch.Generator().manual_seed(2)
        self.device, self.backward = device, bool(backward)
        self.coords = (scattered_voxels(voxels, edge) if edge else surface_voxels(voxels)).to(device)
        self.feats = torch.randn(voxels, channels, generator=generator).to(device)
        self.weight = torch.randn(27, channels, channels, generator=generator).to(device) / (27 * channels) ** 0.5

    def ours(self) -> Run:
        """``toolbox.sparse.Conv3d``."""
        channels = self.weight.shape[1]
        conv = Conv3d(channels, channels).to(self.device)
        conv.weight.data.copy_(self.weight)

        def run() -> dict[str, Any]:
            conv.weight.grad = None
            feats = self.feats.clone().requires_grad_(self.backward)
            with torch.set_grad_enabled(self.backward):
                out = conv(SparseTensor(self.coords, feats)).feats
            return self.finish(out, feats, conv.weight)

        return run

    def reference(self) -> Run:
        """Neighbours by a Python dictionary, one matrix product for each offset, PyTorch's own gradients."""
        offsets = [(x, y, z) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)]

        def run() -> dict[str, Any]:
            rows = {tuple(voxel): row for row, voxel in enumerate(self.coords.tolist())}
            feats = self.feats.clone().requires_grad_(self.backward)
            weight = self.weight.clone().requires_grad_(self.backward)
            with torch.set_grad_enabled(self.backward):
                out = torch.zeros_like(feats)
                for k, (dx, dy, dz) in enumerate(offsets):
                    pairs = [(row, rows.get((b, x + dx, y + dy, z + dz))) for (b, x, y, z), row in rows.items()]
                    pairs = torch.tensor([p for p in pairs if p[1] is not None], device=self.device).reshape(-1, 2)
                    out = out.index_add(0, pairs[:, 0], feats[pairs[:, 1]] @ weight[k])
            return self.finish(out, feats, weight)

        return run

    def finish(self, out: Tensor, feats: Tensor, weight: Tensor) -> dict[str, Any]:
        """Backward, where it is wanted; the outputs."""
        if not self.backward:
            return {"out": out}
        (0.5 * out.square()).sum().backward()
        return {"out": out, "feats_grad": feats.grad, "weight_grad": weight.grad}

    def cost(self) -> Cost:
        """Products of the pairs of neighbours; features, results and gradients moved once for each pair."""
        voxels = {tuple(voxel) for voxel in self.coords.tolist()}
        pairs = sum(
            (b, x + dx, y + dy, z + dz) in voxels
            for b, x, y, z in voxels
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for dz in (-1, 0, 1)
        )
        channels, passes = self.weight.shape[1], 3 if self.backward else 1
        return Cost(passes * 2.0 * pairs * channels**2, passes * 2.0 * 4 * pairs * channels)
