"""Reference features and warped source features -> one cost volume, view by view (never all warped volumes at once).

An aggregator works on each pixel by itself: the head calls it for one part of the image after the other. It tells by
``needs_valid`` whether it looks at where samples are valid; to one that does not, None is given.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from toolbox.errors import UserError
from toolbox.registry import COST_VOLUMES

from .fused_variance import fused_variance
from .looped_variance import looped_variance, suits_loops
from .warper import WarpedView


@COST_VOLUMES.register_module()
class Variance(nn.Module):
    """Variance of the features over reference and sources (MVSNet, equation 2).

    Args:
        valid_only: leave out a source where its sample lies outside its image or behind its camera; else it counts as
            zeros there, as in the MVSNet family.
        published_aliasing: as the published CVP-MVSNet computes it: an in-place square aliases the running sum,
            which so starts from the squared reference. Its published weights need it; it can be negative.
        kernel: 'torch', or 'triton': sampling and summing in one kernel, forwards and backwards, on a GPU. Triton's are
            verified in its interpreter against the torch path; they have not run on a GPU, their speed is not measured.
            On a CPU, where no gradient is wanted, 'torch' samples and sums in one go, too.
    """

    def __init__(self, valid_only: bool = False, published_aliasing: bool = False, kernel: str = "torch"):
        super().__init__()
        if kernel not in ("torch", "triton"):
            raise UserError(f"kernel={kernel!r}", "there is no such kernel", "Use 'torch' or 'triton'")
        self.kernel = kernel
        self.valid_only = self.needs_valid = valid_only
        self.published_aliasing = published_aliasing

    def out_channels(self, feature_channels: int) -> int:
        """Channels of the cost volume."""
        return feature_channels

    def forward(self, reference: Float[Tensor, "b c h w"], warped: Iterable[WarpedView]) -> Float[Tensor, "b c d h w"]:
        """One pass over the sources, for 'triton' ``SweptSources``; raises ValueError if there is none."""
        if self.kernel == "triton":
            return fused_variance(reference, warped, self.valid_only, self.published_aliasing)
        if suits_loops(reference, warped):
            return looped_variance(reference, warped, self.valid_only, self.published_aliasing)
        count = 1

        def samples() -> Iterator[Float[Tensor, "b c d h w"]]:
            nonlocal count
            for source, valid in warped:
                weight = valid[:, None].to(source.dtype) if self.valid_only else 1
                count = count + weight
                yield source * weight if self.valid_only else source

        if torch.is_grad_enabled():
            # The gradient needs all of them.
            sources = list(samples())
            return _LearnedVariance.apply(self.published_aliasing, torch.as_tensor(count), reference, *sources)
        sums = _sums(reference, samples(), self.published_aliasing)
        return _variance_and_mean(*sums, count)[0]


def _sums(
    reference: Float[Tensor, "b c h w"], sources: Iterable[Float[Tensor, "b c d h w"]], aliasing: bool
) -> tuple[Float[Tensor, "b c d h w"], Float[Tensor, "b c d h w"]]:
    """Of features and of their squares."""
    reference = reference[:, :, None]
    total, square_sum = None, None
    for source in sources:
        if total is None:
            square = reference.square()
            total = (square if aliasing else reference) + source
            square_sum = torch.addcmul(square, source, source)
        else:
            # In place: a volume is the largest thing there is.
            total += source
            square_sum.addcmul_(source, source)
    if total is None:
        raise ValueError("a cost volume needs at least one source view")
    return total, square_sum


def _variance_and_mean(total: Tensor, square_sum: Tensor, count: Tensor | int) -> tuple[Tensor, Tensor]:
    """Takes the sums' memory."""
    mean = total.div_(count)
    return square_sum.div_(count).addcmul_(mean, mean, value=-1), mean


class _LearnedVariance(torch.autograd.Function):
    """The gradient of (sum of x^2) / n - mean^2 is 2 / n (x - mean): one pass over each source."""

    @staticmethod
    def forward(ctx: Any, aliasing: bool, count: Tensor, reference: Tensor, *sources: Tensor) -> Tensor:
        variance, mean = _variance_and_mean(*_sums(reference, sources, aliasing), count)
        ctx.aliasing = aliasing
        ctx.save_for_backward(count, mean, reference, *sources)
        return variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        count, mean, reference, *sources = ctx.saved_tensors
        # Laid out as the sources are; the regularizer's gradients have the channels last.
        scaled = torch.div(grad, count / -2, out=torch.empty_like(sources[0]))
        through_mean = mean * scaled
        grad_sources = [torch.addcmul(through_mean, source, scaled, value=-1) for source in sources]
        grad_reference = through_mean.sum(dim=2)
        if ctx.aliasing:
            grad_reference *= 2 * reference
        return None, None, grad_reference.addcmul_(reference, scaled.sum(dim=2), value=-1), *grad_sources


@COST_VOLUMES.register_module()
class GroupCorrelation(nn.Module):
    """Group-wise correlation of reference and source features (GwcNet), averaged over the sources that see the point.

    Args:
        groups: number of channel groups, each giving one channel; divides the features' channels.
    """

    needs_valid = True

    def __init__(self, groups: int = 8):
        super().__init__()
        self.groups = groups

    def out_channels(self, feature_channels: int) -> int:
        """Channels of the cost volume."""
        if feature_channels % self.groups:
            raise UserError(
                f"groups={self.groups}",
                f"does not divide the backbone's {feature_channels} channels",
                "Choose a divisor of the channels",
            )
        return self.groups

    def forward(self, reference: Float[Tensor, "b c h w"], warped: Iterable[WarpedView]) -> Float[Tensor, "b g d h w"]:
        """One pass over the sources; raises ValueError if there is none."""
        batch, channels, height, width = reference.shape
        grouped = reference.reshape(batch, self.groups, channels // self.groups, 1, height, width)
        total, count = None, None
        for source, valid in warped:
            planes = source.shape[2]
            correlation = (grouped * source.reshape(batch, self.groups, -1, planes, height, width)).mean(dim=2)
            weight = valid[:, None].to(source.dtype)
            total = correlation * weight if total is None else total + correlation * weight
            count = weight if count is None else count + weight
        if total is None:
            raise ValueError("a cost volume needs at least one source view")
        return total / torch.clamp(count, min=1)


@COST_VOLUMES.register_module()
class WithReference(nn.Module):
    """Another aggregation's volume, and beside it the reference's own features, the same at every hypothesis.

    The matching cost alone does not tell the regularizer what it looks at. With the features it can learn where
    matching fails (no texture, gloss) and which surfaces are smooth.

    Args:
        aggregator: from COST_VOLUMES.
    """

    def __init__(self, aggregator: dict):
        super().__init__()
        self.aggregator = COST_VOLUMES.build(aggregator)
        self.needs_valid = self.aggregator.needs_valid

    def out_channels(self, feature_channels: int) -> int:
        """Channels of the cost volume."""
        return self.aggregator.out_channels(feature_channels) + feature_channels

    def forward(self, reference: Float[Tensor, "b c h w"], warped: Iterable[WarpedView]) -> Float[Tensor, "b k d h w"]:
        """One pass over the sources; raises ValueError if there is none."""
        volume = self.aggregator(reference, warped)
        same = reference[:, :, None].expand(-1, -1, volume.shape[2], -1, -1)
        return torch.cat((volume, same.to(volume.dtype)), dim=1)
