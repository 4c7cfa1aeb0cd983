"""Source features -> the reference's depth hypotheses."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from toolbox.geometry import PlaneSweep
from toolbox.registry import COST_VOLUMES

from .level import LevelGeometry

WarpedView = tuple[Float[Tensor, "b c d h w"], Bool[Tensor, "b d h w"] | None]


@dataclass
class SweptSources:
    """All sources at the hypotheses of a part of the level: sampled one after the other while they are iterated over.

    Attributes:
        sweeps: one of each source.
        depth: hypotheses of a rectangle of reference pixels.
        corner: row and column of its top-left pixel.
        dtype: of the samples.
        with_valid: whether to look at where they are valid.
    """

    sweeps: list[PlaneSweep]
    depth: Float[Tensor, "b d h w"]
    corner: tuple[int, int]
    dtype: torch.dtype
    with_valid: bool = True

    @property
    def alike(self) -> bool:
        """Whether all sources are there, of one size, and sampled in one way."""
        if any(sweep.source is None for sweep in self.sweeps):
            return False
        return len({(*sweep.source.shape, sweep.keep_behind, sweep.align_corners) for sweep in self.sweeps}) == 1

    def cameras(self) -> Float[Tensor, "v b 16"]:
        """The cameras of all sources; see ``PlaneSweep``."""
        return torch.stack([sweep.camera for sweep in self.sweeps]).float()

    def __iter__(self) -> Iterator[WarpedView]:
        """Warped features of each source, and where they are valid (None unless asked for)."""
        for sweep in self.sweeps:
            features, valid = sweep(self.depth, self.corner, self.with_valid)
            yield features.to(self.dtype), valid


@COST_VOLUMES.register_module()
class PlaneSweepWarper(nn.Module):
    """Samples a source's features where each hypothesis of each reference pixel projects (zeros where it does not).

    No gradient flows through the sampling positions; in float32 whatever the features' precision.

    Args:
        published_sampling: as the published CVP-MVSNet does: positions normalised for align_corners=True but sampled
            with align_corners=False, and points behind the camera sampled too.
    """

    def __init__(self, published_sampling: bool = False):
        super().__init__()
        self.published_sampling = published_sampling

    def sweep(
        self, source: Float[Tensor, "b c hs ws"], geometry: LevelGeometry, view: int, dtype: torch.dtype
    ) -> PlaneSweep:
        """What samples source ``view`` (1 is the first source) at any part of the level, in ``dtype``."""
        return PlaneSweep(
            source,
            geometry.intrinsics[:, 0],
            geometry.world_to_cam[:, 0],
            geometry.intrinsics[:, view],
            geometry.world_to_cam[:, view],
            dtype,
            align_corners=not self.published_sampling,
            keep_behind=self.published_sampling,
        )

    def forward(
        self,
        source: Float[Tensor, "b c hs ws"],
        hypotheses: Float[Tensor, "b d h w"],
        geometry: LevelGeometry,
        view: int,
    ) -> tuple[Float[Tensor, "b c d h w"], Bool[Tensor, "b d h w"]]:
        """Warped features of source ``view`` (1 is the first source) at the whole level, and where they are valid."""
        with torch.autocast(source.device.type, enabled=False):
            warped, valid = self.sweep(source, geometry, view, hypotheses.dtype)(hypotheses.detach())
        return warped.to(source.dtype), valid
