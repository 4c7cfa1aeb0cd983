"""Depth hypotheses of a level: planes over the whole range, or a few around the coarser level's depth.

Every sampler is called with the level's geometry and the coarser depth, upsampled to this level (None at the coarsest),
and returns hypotheses (B, D, h, w) in ascending order of depth or of index.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.registry import COST_VOLUMES

from .epipolar import depth_per_pixel_shift
from .level import LevelGeometry


def _even(num: int) -> int:
    if num < 2 or num % 2:
        raise UserError(f"num={num}", "hypotheses must be an even number, at least 2", "The regularizer halves them")
    return num


def _planes_to_map(planes: Float[Tensor, "b d"], size: tuple[int, int]) -> Float[Tensor, "b d h w"]:
    return planes[:, :, None, None].expand(-1, -1, *size)


@COST_VOLUMES.register_module()
class UniformDepth(nn.Module):
    """Planes uniform in depth, from near to far (MVSNet; CVP-MVSNet's coarsest level).

    Args:
        num: number of planes; even.
        published_shared_range: give every sample the range of the batch's first one, as the published CVP-MVSNet does.
    """

    def __init__(self, num: int = 48, published_shared_range: bool = False):
        super().__init__()
        self.num = _even(num)
        self.published_shared_range = published_shared_range

    def forward(
        self, geometry: LevelGeometry, coarser_depth: Float[Tensor, "b h w"] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """Ascending depths; the same for every pixel."""
        near, far = geometry.depth_range.double().unbind(dim=1)
        if self.published_shared_range:
            near, far = near[:1].expand_as(near), far[:1].expand_as(far)
        steps = torch.linspace(0, 1, self.num, dtype=near.dtype, device=near.device)
        planes = near[:, None] + (far - near)[:, None] * steps
        return _planes_to_map(planes.to(geometry.intrinsics.dtype), geometry.size)


@COST_VOLUMES.register_module()
class UniformInverseDepth(nn.Module):
    """Planes uniform in inverse depth, from near to far: even steps along the epipolar line; for wide ranges.

    Args:
        num: number of planes; even.
    """

    def __init__(self, num: int = 48):
        super().__init__()
        self.num = _even(num)

    def forward(
        self, geometry: LevelGeometry, coarser_depth: Float[Tensor, "b h w"] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """Ascending depths; the same for every pixel."""
        near, far = geometry.depth_range.double().unbind(dim=1)
        steps = torch.linspace(0, 1, self.num, dtype=near.dtype, device=near.device)
        inverse = 1 / near[:, None] + (1 / far - 1 / near)[:, None] * steps
        return _planes_to_map((1 / inverse).to(geometry.intrinsics.dtype), geometry.size)


def _around(
    depth: Float[Tensor, "b h w"],
    interval: Float[Tensor, "b _ _"],
    num: int,
    depth_range: Float[Tensor, "b 2"] | None,
) -> Float[Tensor, "b d h w"]:
    """depth + j * interval with j = -num/2 .. num/2 - 1 (CVP-MVSNet, section 3.2).

    Within ``depth_range`` (unless None) the whole window is moved inside, so that its hypotheses stay distinct.
    """
    offsets = torch.arange(-(num // 2), num // 2, dtype=depth.dtype, device=depth.device)
    if depth_range is not None:
        near, far = depth_range.to(depth.dtype)[:, :, None, None].unbind(dim=1)
        interval = interval.clamp(max=(far - near) / (2 * num))
        depth = torch.minimum(torch.maximum(depth, near + num // 2 * interval), far - (num // 2 - 1) * interval)
    return depth[:, None] + offsets[None, :, None, None] * interval[:, None]


@COST_VOLUMES.register_module()
class FixedInterval(nn.Module):
    """Hypotheses around the coarser depth at a fixed interval.

    Args:
        num: number of hypotheses; even.
        interval: in the scene's unit (published training on DTU: 6.8085 mm); or None for
        fraction: of the depth range.
        clamp: keep the hypotheses inside the depth range (published code does not).
    """

    def __init__(self, num: int = 8, interval: float | None = None, fraction: float = 1 / 128, clamp: bool = True):
        super().__init__()
        self.num = _even(num)
        self.interval, self.fraction, self.clamp = interval, fraction, clamp

    def forward(self, geometry: LevelGeometry, coarser_depth: Float[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Hypotheses with ascending depth; gradients flow into ``coarser_depth``."""
        near, far = geometry.depth_range.to(coarser_depth.dtype)[:, :, None, None].unbind(dim=1)
        interval = (far - near) * self.fraction if self.interval is None else torch.full_like(near, self.interval)
        return _around(coarser_depth, interval, self.num, geometry.depth_range if self.clamp else None)


@COST_VOLUMES.register_module()
class PixelInterval(nn.Module):
    """Hypotheses around the coarser depth, spaced by a shift of so many pixels along the epipolar lines.

    CVP-MVSNet, section 3.2. In closed form from the epipolar geometry; finite for every geometry (rectified stereo, no
    baseline), since the interval is limited to what the depth range holds.

    Args:
        num: number of hypotheses; even.
        pixels: shift in a source image of this level between neighbouring hypotheses.
        sources: 'all' (root mean square of the shifts), 'widest' (the source that shifts most) or 'first'.
        statistic: one interval for the whole map, its 'median' or 'mean', or one 'per_pixel'.
        clamp: keep the hypotheses inside the depth range.
        published_interval: as the published CVP-MVSNet does: the mean over the map of the depth change for one whole
            pixel to the right in the first source only, not limited in any way. Overrides the other options.
    """

    def __init__(
        self,
        num: int = 8,
        pixels: float = 1.0,
        sources: str = "all",
        statistic: str = "median",
        clamp: bool = True,
        published_interval: bool = False,
    ):
        super().__init__()
        for name, value, known in (
            ("sources", sources, ("all", "widest", "first")),
            ("statistic", statistic, ("median", "mean", "per_pixel")),
        ):
            if value not in known:
                raise UserError(
                    f"{name}='{value}'", "no such option of PixelInterval", f"Use one of {', '.join(known)}"
                )
        self.num, self.pixels = _even(num), pixels
        self.sources, self.statistic, self.clamp = sources, statistic, clamp
        self.published_interval = published_interval

    @torch.no_grad()
    def interval(self, geometry: LevelGeometry, depth: Float[Tensor, "b h w"]) -> Float[Tensor, "b _ _"]:
        """Depth between neighbouring hypotheses, (B, 1, 1) or (B, h, w)."""
        views = range(1, 2 if self.sources == "first" or self.published_interval else geometry.num_sources + 1)
        change = torch.stack(
            [depth_per_pixel_shift(depth, geometry, view, finite_step=self.published_interval) for view in views]
        )
        if self.published_interval:
            return change[0].abs().mean(dim=(1, 2), keepdim=True).to(depth.dtype)
        shift = 1 / change  # pixels per unit of depth; no parallax gives 0
        shift = shift.square().mean(dim=0).sqrt() if self.sources == "all" else shift.amax(dim=0)
        near, far = geometry.depth_range.to(shift.dtype)[:, :, None, None].unbind(dim=1)
        interval = (self.pixels / shift.clamp(min=1e-30)).minimum(far - near)
        if self.statistic == "median":
            interval = interval.flatten(1).median(dim=1).values[:, None, None]
        elif self.statistic == "mean":
            interval = interval.mean(dim=(1, 2), keepdim=True)
        return interval.to(depth.dtype)

    def forward(self, geometry: LevelGeometry, coarser_depth: Float[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """Hypotheses with ascending depth; gradients flow into ``coarser_depth``."""
        limited = self.clamp and not self.published_interval
        interval = self.interval(geometry, coarser_depth.detach())
        return _around(coarser_depth, interval, self.num, geometry.depth_range if limited else None)
