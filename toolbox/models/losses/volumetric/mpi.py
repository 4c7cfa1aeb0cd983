"""Losses of a multiplane image's rendered views (MonoSelfRecon's NeRF branch, after MINE, Li et al., ICCV 2021)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from toolbox.errors import UserError
from toolbox.models.losses.multi_level import masked_mean
from toolbox.registry import LOSSES
from toolbox.structures import FragmentBatch, RenderedPair, RenderedView, VolumetricPrediction

_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
VIEWS = ("source", "target")


def ssim_map(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """1 - SSIM, mean over the channels, Gaussian windows of 11 pixels (sigma 1.5), zeros beyond the edges.

    Wang et al.: Image quality assessment (TIP 2004); values in [0, 1].
    """
    margin = _SSIM_WINDOW // 2
    pads = (margin, margin, margin, margin)
    _, similarity = structural_similarity_index_measure(
        F.pad(image, pads),
        F.pad(target, pads),
        sigma=_SSIM_SIGMA,
        kernel_size=_SSIM_WINDOW,
        data_range=1.0,
        return_full_image=True,
    )
    return 1 - similarity[..., margin:-margin, margin:-margin].mean(dim=1)


def smooth_disparity_map(disparity: Float[Tensor, "b h w"], image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """|dx d| exp(-|dx I|) + |dy d| exp(-|dy I|), d over its mean, |D I| mean over colours (edge-aware, version 2).

    Each direction is scaled up for the row or column without a difference, so that the mean of the map is the sum of
    both directions' means. Godard et al. (ICCV 2019).
    """
    disparity = disparity / (disparity.mean(dim=(1, 2), keepdim=True) + 1e-7)
    total = torch.zeros_like(disparity)
    for dim, pads in ((-1, (0, 1)), (-2, (0, 0, 0, 1))):
        differences = disparity.diff(dim=dim).abs() * torch.exp(-image.diff(dim=dim).abs().mean(dim=1))
        total = total + F.pad(differences, pads) * (disparity.shape[dim] / differences.shape[dim])
    return total


def sobel_gradients(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2 h w"]:
    """Sobel's derivatives in x and y, edges continued; 8 times the slope."""
    smooth, slope = values.new_tensor([1, 2, 1]), values.new_tensor([-1, 0, 1])
    kernels = torch.stack((smooth[:, None] * slope, slope[:, None] * smooth))[:, None]
    batch, channels = values.shape[:2]
    padded = F.pad(values.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels).unflatten(0, (batch, channels))


def edge_disparity_map(
    disparity: Float[Tensor, "b h w"], image: Float[Tensor, "b c h w"], min_gradient: float = 0.8, ratio: float = 0.1
) -> Float[Tensor, "b h w"]:
    """Strong gradients of disparity where the image has no edge (edge-aware, version 1; MINE, section 3.4).

    Sum over x and y of (1 - e) max(0, g - ``min_gradient``): g are the disparity's absolute Sobel gradients, normalised
    to mean 0 and variance 1 per view; e the image's, summed over the colours, over ``ratio`` of their largest, at most
    1.
    """
    edges = sobel_gradients(image).abs().sum(dim=1)
    largest = edges.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
    edges = (edges / (ratio * largest)).clamp(max=1)
    gradients = F.instance_norm(sobel_gradients(disparity[:, None])[:, 0].abs())
    return ((1 - edges) * F.relu(gradients - min_gradient)).sum(dim=1)


def log_disparity_map(view: RenderedView, scale: Float[Tensor, " b"]) -> Float[Tensor, " n"]:
    """|log(d / scale) + log z| at the points of the volume's surface: d disparity of the planes, z depth in metres."""
    return (view.disparity_at_points().log() - scale.log()[view.point_sample] + view.point_depth.log()).abs()


class MPILoss(nn.Module, ABC):
    """weight * sum over the views of the mean of ``view_map``.

    Args:
        weight: of the whole.
        views: 'source', 'target' or both.
        output: name of the head that renders, an ``MPIHead``.

    Raises:
        UserError: no such view.
    """

    def __init__(self, weight: float = 1.0, views: Sequence[str] = VIEWS, output: str = "mpi"):
        super().__init__()
        self.views = (views,) if isinstance(views, str) else tuple(views)
        if not self.views or not set(self.views) <= set(VIEWS):
            raise UserError(f"{type(self).__name__}(views={views!r})", "are no views", f"Choose out of {VIEWS}")
        self.weight, self.output = weight, output

    @abstractmethod
    def view_map(
        self, view: RenderedView, pair: RenderedPair
    ) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
        """The unreduced loss of one view, and where it is valid."""

    def forward(self, prediction: VolumetricPrediction, batch: FragmentBatch) -> Float[Tensor, ""]:
        """The weighted scalar.

        Raises:
            UserError: no head has rendered anything.
        """
        pair = prediction.outputs.get(self.output)
        if not isinstance(pair, RenderedPair):
            raise UserError(
                f"{type(self).__name__}(output='{self.output}')",
                "no head of that name renders views",
                f"Add {self.output}=dict(type='MPIHead') to the model's heads",
            )
        total = pair.scale.new_zeros(())
        with torch.autocast(total.device.type, enabled=False):
            for name in self.views:
                total = total + self.view_loss(getattr(pair, name), pair)
        return self.weight * total

    def view_loss(self, view: RenderedView, pair: RenderedPair) -> Float[Tensor, ""]:
        """``view_map`` as one number."""
        return masked_mean(*self.view_map(view, pair))


def _everywhere(errors: Tensor) -> tuple[Tensor, Tensor]:
    return errors, torch.ones_like(errors, dtype=torch.bool)


@LOSSES.register_module()
class MPIDisparityLoss(MPILoss):
    """``log_disparity_map``: planes and volume agree about depth. Arguments: see ``MPILoss``."""

    def view_map(self, view: RenderedView, pair: RenderedPair) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
        """At the points of the volume's surface."""
        return _everywhere(log_disparity_map(view, pair.scale))

    def view_loss(self, view: RenderedView, pair: RenderedPair) -> Float[Tensor, ""]:
        """Mean over the samples of the mean over their points, of which samples have different numbers."""
        errors, valid = self.view_map(view, pair)
        samples = range(len(pair.scale))
        return sum(masked_mean(errors, valid & (view.point_sample == i)) for i in samples) / len(samples)


@LOSSES.register_module()
class MPIColourLoss(MPILoss):
    """L1 of the rendered colours, 0 where fewer than two planes show the pixel. Arguments: see ``MPILoss``."""

    def view_map(self, view: RenderedView, pair: RenderedPair) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Mean over the colours; pixels that are not seen count as 0, as published."""
        return _everywhere((view.synthesis - view.image).abs().mean(dim=1) * view.seen)


@LOSSES.register_module()
class MPISSIMLoss(MPILoss):
    """``ssim_map`` of the rendered views. Arguments: see ``MPILoss``."""

    def view_map(self, view: RenderedView, pair: RenderedPair) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Every pixel counts."""
        return _everywhere(ssim_map(view.synthesis, view.image))


@LOSSES.register_module()
class MPISmoothnessLoss(MPILoss):
    """``smooth_disparity_map``: edge-aware smoothness, version 2. Arguments: see ``MPILoss``."""

    def view_map(self, view: RenderedView, pair: RenderedPair) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Every pixel counts."""
        return _everywhere(smooth_disparity_map(view.disparity, view.image))


@LOSSES.register_module()
class MPIEdgeLoss(MPILoss):
    """``edge_disparity_map``: edge-aware smoothness, version 1.

    Args:
        min_gradient, ratio: see ``edge_disparity_map``.
        weight, views, output: see ``MPILoss``.
    """

    def __init__(
        self,
        min_gradient: float = 0.8,
        ratio: float = 0.1,
        weight: float = 0.5,
        views: Sequence[str] = ("target",),
        output: str = "mpi",
    ):
        super().__init__(weight, views, output)
        self.min_gradient, self.ratio = min_gradient, ratio

    def view_map(self, view: RenderedView, pair: RenderedPair) -> tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Every pixel counts."""
        return _everywhere(edge_disparity_map(view.disparity, view.image, self.min_gradient, self.ratio))
