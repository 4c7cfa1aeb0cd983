"""Images compared by what a network trained on photographs sees in them."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.io import download_weights, is_address, read_weights
from toolbox.registry import LOSSES
from toolbox.structures import DepthPrediction, MultiViewBatch

from .multi_level import MultiLevelLoss
from .synthesis import level_views, synthesise_reference
from .view_synthesis import Selection, select_sources

_ADDRESS = "https://download.pytorch.org/models/vgg16-397923af.pth"
_REMEDY = (
    f"Give torchvision's published weights, {_ADDRESS} or the path of that file (the state dict of "
    "torchvision.models.vgg16(weights='IMAGENET1K_V1')), or leave this loss out of the config"
)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16Features(nn.Module):
    """VGG-16 (Simonyan and Zisserman, ICLR 2015) up to relu3_3; weights are named as in torchvision's ``vgg16``."""

    blocks = ((64, 64), (128, 128), (256, 256, 256))

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for block in self.blocks:
            layers += [nn.MaxPool2d(2)] if layers else []
            for after in block:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                before = after
        self.features = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """RGB in [0, 1] -> relu1_2, relu2_2 and relu3_3, at full, half and quarter resolution."""
        x = (images - images.new_tensor(_MEAN)[:, None, None]) / images.new_tensor(_DEVIATION)[:, None, None]
        outputs = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                outputs.append(x)
            x = layer(x)
        return [*outputs, x]


def load_vgg16(weights: str | Path | None) -> VGG16Features:
    """VGG-16 features, frozen, with the weights of a file: the state dict of torchvision's ``vgg16``.

    Args:
        weights: the file's path, or its address: it is downloaded once, checked against the hash in its name, and kept
            among torch.hub's checkpoints.

    Raises:
        UserError: there is no file, or it does not hold these weights; names the file to provide.
    """
    where = "PerceptualLoss(weights=None)" if weights is None else weights
    if is_address(where):
        weights = download_weights(where, check_hash=True, remedy=_REMEDY)
    if weights is None or not Path(weights).expanduser().is_file():
        raise UserError(where, "there is no file of VGG-16 weights", _REMEDY)
    state = read_weights(weights)
    network = VGG16Features()
    wanted = network.state_dict()
    fitting = {
        name: state[name]
        for name, tensor in wanted.items()
        if isinstance(state.get(name), Tensor) and state[name].shape == tensor.shape
    }
    if missing := [name for name in wanted if name not in fitting]:
        raise UserError(
            where,
            f"is no VGG-16: {len(missing)} weights are missing or of another shape, first '{missing[0]}'",
            _REMEDY,
        )
    network.load_state_dict(fitting)
    return network.eval().requires_grad_(False)


def perceptual_map(
    images: Float[Tensor, "b v 3 h w"],
    depth: Float[Tensor, "b h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    world_to_cam: Float[Tensor, "b v 4 4"],
    network: VGG16Features,
    selection: Selection = "top_k",
    k: int = 2,
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    """Sum over the layers of the mean over the channels of |f(I) - f(I')|, I' the reference synthesised by the depth.

    Where a source does not show the reference, I' is the reference itself: what is unknown differs from nothing. A
    feature pixel's error stands at every pixel it covers. Johnson, Alahi, Fei-Fei: Perceptual losses (ECCV 2016);
    on warped images M3VSNet (Huang et al., 2021), with deeper layers.

    Args:
        images, intrinsics: on the depth map's grid, view 0 the reference.
        selection, k: see ``select_sources``.

    Returns:
        The map, and where any source sees the pixel.
    """
    synthesis = synthesise_reference(images, depth, intrinsics, world_to_cam)
    return _compared(images[:, 0], *synthesis, network, selection, k)


def _compared(
    reference: Float[Tensor, "b 3 h w"],
    warped: Float[Tensor, "b s 3 h w"],
    valid: Bool[Tensor, "b s h w"],
    network: VGG16Features,
    selection: Selection,
    k: int,
) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
    filled = torch.where(valid[:, :, None], warped, reference[:, None])
    batch, sources = valid.shape[:2]
    error = torch.zeros_like(warped[:, :, 0])
    for seen, target in zip(network(filled.flatten(0, 1)), network(reference), strict=True):
        difference = (seen.unflatten(0, (batch, sources)) - target[:, None]).abs().mean(dim=2)
        error = error + F.interpolate(difference, size=tuple(valid.shape[-2:]), mode="nearest")
    return select_sources(error, valid, selection, k)


@LOSSES.register_module()
class PerceptualLoss(MultiLevelLoss):
    """Difference of VGG-16 features between the reference and the sources warped into it by the estimated depth.

    Args:
        weights: path or address of the state dict of torchvision's ``vgg16``
            (https://download.pytorch.org/models/vgg16-397923af.pth); it is frozen and is no part of the model's
            checkpoints.
        num_sources: look at the first so many sources only; None takes all.
        selection, k: see ``select_sources``.
        weight, level_weights: see ``MultiLevelLoss``.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        num_sources: int | None = None,
        selection: Selection = "top_k",
        k: int = 2,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = None,
    ):
        super().__init__(weight, level_weights)
        self.network = load_vgg16(weights)
        self.num_sources, self.selection, self.k = num_sources, selection, k

    def level_map(
        self, prediction: DepthPrediction, batch: MultiViewBatch, level: int
    ) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """``perceptual_map`` of one level."""
        views = level_views(prediction, batch, level)
        warped, valid = (values[:, : self.num_sources] for values in views.synthesis())
        # The losses of a model do not move with it.
        network = self.network.to(warped)
        return _compared(views.level_images[:, 0], warped, valid, network, self.selection, self.k)
