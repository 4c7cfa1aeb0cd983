"""Networks and fragments for the works on volumetric networks."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolbox.engine import load_config
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.registry import MODELS
from toolbox.structures import FragmentBatch

from .scenes import room_views

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_VOXEL = 0.04

SIZES = {
    "tiny": {"views": 3, "height": 32, "width": 64, "window": 16},
    "small": {"views": 5, "height": 96, "width": 128, "window": 32},
    "user": {"views": 9, "height": 480, "width": 640, "window": 96},
}
"""Of the works with this input."""


def monoselfrecon(
    device: str, window: int, losses: dict[str, Any] | None = None, remembers: bool = False
) -> VolumetricReconstructor:
    """MonoSelfRecon's network at the paper's size without multiplane images; weights from a seed.

    It keeps the half of each level's voxels whose distances are smallest in magnitude, near enough: heads that are not
    trained say nothing.
    """
    torch.manual_seed(4)
    model = load_config(_CONFIGS / "_base_/models/monoselfrecon.py").model
    model.backbone.weights = None
    model.neck.window, model.neck.fusion_on = (window,) * 3, remembers
    model.neck.sparsifier.threshold = 0.2
    model.heads.pop("mpi")
    model.losses = losses or {}
    return MODELS.build(model).to(device)


def room_fragment(views: int, height: int, width: int, window: int, device: str) -> FragmentBatch:
    """A fragment in front of a wall of a room, with truth that is a slab around the wall."""
    seen = room_views(views, height, width)
    edge = window * _VOXEL
    origin = np.array([2.5 - edge / 2, min(4.0 - 0.75 * edge, 3.0), 0.0])
    y = torch.arange(window) * _VOXEL + float(origin[1])
    wall = ((4.0 - y) / (3 * _VOXEL)).clamp(-1, 1)[None, None, :, None].expand(1, window, window, window)
    tsdf = [wall[:, :: 2**level, :: 2**level, :: 2**level].contiguous() for level in range(3)]
    middle = torch.from_numpy(seen.world_to_cam[views // 2]).float()
    batch = FragmentBatch(
        images=torch.from_numpy(seen.images).permute(0, 3, 1, 2).float().div(255)[None],
        intrinsics=torch.from_numpy(seen.intrinsics).float()[None],
        world_to_cam=torch.from_numpy(seen.world_to_cam).float()[None],
        origin=torch.from_numpy(origin).float()[None],
        world_to_aligned_camera=middle[None],
        tsdf=tsdf,
        occupancy=[values.abs() < 1 for values in tsdf],
        meta=[{"scene": "room", "first": True}],
    )
    return batch.to(device)
