"""Networks and images for the works on multi-view stereo."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from toolbox.apis import init_model
from toolbox.engine import load_config
from toolbox.models.reconstructors import MultiViewStereo

from .scenes import table_views

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class StereoInput:
    """Views of a table, all of them sources of one another.

    Attributes:
        images: in [0, 1].
        intrinsics, world_to_cam: of the views.
        depths: exact.
        depth_range: (near, far), in mm.
    """

    images: Tensor
    intrinsics: Tensor
    world_to_cam: Tensor
    depths: Tensor
    depth_range: Tensor

    def select(self, views: list[int]) -> "StereoInput":
        """Some of the views."""
        return StereoInput(
            self.images[views],
            self.intrinsics[views],
            self.world_to_cam[views],
            self.depths[views],
            self.depth_range,
        )


def stereo_input(views: int, height: int, width: int, device: str) -> StereoInput:
    """Views of a table."""
    seen = table_views(views, height, width)
    return StereoInput(
        torch.from_numpy(seen.images).permute(0, 3, 1, 2).float().div(255).contiguous().to(device),
        torch.from_numpy(seen.intrinsics).float().to(device),
        torch.from_numpy(seen.world_to_cam).to(device),
        torch.from_numpy(seen.depths).to(device),
        torch.tensor([400.0, 1000.0], device=device),
    )


def official_network(device: str, levels: int, unsupervised: bool = False) -> MultiViewStereo:
    """CVP-MVSNet at the paper's size with the published numerics; weights from a seed, statistics as if trained.

    Args:
        unsupervised: with the losses of an unsupervised start.
    """
    torch.manual_seed(3)
    config = load_config(_CONFIGS / "cvp_mvsnet/cvp_mvsnet_official.py")
    if unsupervised:
        config.model.losses = load_config(_CONFIGS / "self_cvp_mvsnet/unsup_cvp_mvsnet.py").model.losses
    config.model.test_num_levels = levels
    model = init_model(config, device=device)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_var.fill_(0.5)
    return model
