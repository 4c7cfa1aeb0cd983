"""Functions that run in two processes of one gloo group, each started fresh: forks hang on other libraries' threads.

python ranks.py FUNCTION RANK FOLDER
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from toolbox.engine import synchronise_batch_norms
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.registry import MODELS
from toolbox.structures import FragmentBatch

ROWS = (5, 3)
SHAPES = {"rows": (), "images": (4, 6), "volumes": (2, 3, 4)}
VOXEL, WINDOW = 0.16, (16, 16, 16)
# No voxel's centre lies on the border of a voxel of the sparse network.
ALIGNED = torch.tensor([[0.8, 0, 0.6, 0.031], [0, 1, 0, -0.043], [-0.6, 0, 0.8, 0.052], [0, 0, 0, 1]])


def plain_norm(kind: str, **settings) -> nn.Module:
    layer = {"rows": nn.BatchNorm1d, "images": nn.BatchNorm2d, "volumes": nn.BatchNorm3d}[kind]
    norm = layer(3, **settings).double()
    if norm.affine:
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    return norm


def samples(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Input and factors of the loss, of all ranks together; far from mean 0."""
    generator = torch.Generator().manual_seed(3)
    values, factors = (torch.randn(sum(ROWS), 3, *SHAPES[kind], generator=generator) for _ in range(2))
    return (30 + 2 * values).to(dtype), factors.to(dtype)


def take_part(norm: nn.Module, values: Tensor, factors: Tensor) -> dict[str, Tensor]:
    """Output, gradients, and what the layer remembers."""
    values = values.clone().requires_grad_()
    out = norm(values)
    (out * factors).sum().backward()
    gradients = {f"grad_{name}": parameter.grad for name, parameter in norm.named_parameters()}
    return {"out": out.detach(), "grad": values.grad, **gradients, **{k: v.clone() for k, v in norm.named_buffers()}}


def normalise(rank: int) -> dict:
    """Batch normalisation of unequal parts, of an empty one, of one row in all."""
    found = {}
    for kind in SHAPES:
        for settings in ({}, {"momentum": None}, {"affine": False}):
            norm = synchronise_batch_norms(nn.Sequential(plain_norm(kind, **settings)))[0]
            values, factors = (part.split(ROWS)[rank] for part in samples(kind))
            found[f"{kind} {settings}"] = take_part(norm, values, factors)
    for name, sizes in (("all here", (sum(ROWS), 0)), ("one row", (0, 1)), ("no row", (0, 0))):
        norm = synchronise_batch_norms(nn.Sequential(plain_norm("rows")))[0]
        values, factors = (part[: sum(sizes)].split(sizes)[rank] for part in samples("rows"))
        found[name] = take_part(norm, values, factors)
    norm = synchronise_batch_norms(nn.Sequential(plain_norm("images")))[0].float()
    found["bfloat16"] = take_part(norm, *(part.split(ROWS)[rank] for part in samples("images", torch.bfloat16)))
    return found


def network() -> VolumetricReconstructor:
    """A small volumetric network without a memory, with all kinds of batch normalisation and voxel losses."""
    torch.manual_seed(7)
    widths = (0.0625, 0.0625, 0.125)
    return MODELS.build(
        {
            "type": "VolumetricReconstructor",
            "backbone": {"type": "ResNet18FPN", "channels": 4, "width": 8},
            "neck": {
                "type": "CoarseToFine",
                "networks": [{"type": "SPVCNN", "width": width} for width in widths],
                "window": WINDOW,
                "voxel_size": VOXEL,
                "back_projection": {"view_fusion": {"type": "AttentionViewFusion"}},
                "sparsifier": {"type": "TSDFBand", "threshold": 1.0},
                "max_voxels": None,
            },
            "heads": {"tsdf": {"type": "TSDFHead"}, "occupancy": {"type": "OccupancyHead"}},
            "losses": {
                "photometric": {"type": "SDFConsistencyLoss"},
                "planar": {"type": "SuperpixelPlanarLoss", "min_points": 12, "weight": 1.0},
                "weak": {"type": "WeakSupervisionLoss"},
            },
        }
    )


def fragments(chosen: list[int]) -> FragmentBatch:
    """Some of two fragments whose voxels are seen by different numbers of views."""
    generator = torch.Generator().manual_seed(2)
    poses = torch.eye(4).repeat(2, 3, 1, 1)
    poses[:, :, 0, 3] = torch.tensor([[-0.1, 0.02, 0.15], [-0.8, 0.1, 0.9]])
    tsdf = [torch.rand(2, *(n >> level for n in WINDOW), generator=generator) * 2.2 - 1.1 for level in range(3)]
    tsdf = [values.clamp(-1, 1) for values in tsdf]
    batch = {
        "images": torch.rand(2, 3, 3, 24, 32, generator=generator),
        "intrinsics": torch.tensor([[28.0, 0, 16.5], [0, 30, 11], [0, 0, 1]]).repeat(2, 3, 1, 1),
        "world_to_cam": poses,
        "origin": torch.tensor([[-1.28, -1.28, 1.0], [-1.2, -1.3, 0.7]]),
        "world_to_aligned_camera": ALIGNED.repeat(2, 1, 1),
    }
    stripes = [
        torch.arange(24 >> level)[:, None].expand(24 >> level, 32 >> level) // (12 >> level) for level in range(3)
    ]
    return FragmentBatch(
        **{name: value[chosen] for name, value in batch.items()},
        tsdf=[values[chosen] for values in tsdf],
        occupancy=[values[chosen].abs() < 1 for values in tsdf],
        segments=[values.repeat(len(chosen), 3, 1, 1) for values in stripes],
        meta=[{"scene": str(i), "first": True} for i in chosen],
    )


def train_step(model: nn.Module, batch: FragmentBatch) -> dict[str, Tensor]:
    """Weights, statistics and losses after a step of gradient descent."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = model(batch, mode="loss")
    sum(losses.values()).backward()
    optimizer.step()
    plain = getattr(model, "module", model)
    return {**plain.state_dict(), **{name: loss.detach() for name, loss in losses.items()}}


def volumetric(rank: int) -> dict:
    """One training step, a fragment for each rank."""
    model = nn.parallel.DistributedDataParallel(synchronise_batch_norms(network()))
    return train_step(model, fragments([rank]))


def main() -> None:
    """Take part, and write what was found."""
    function, rank, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.save({"normalise": normalise, "volumetric": volumetric}[function](rank), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
