"""The reference as its sources show it by the estimated depth: once for all losses of a training step."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolbox.geometry import warp_to_reference
from toolbox.structures import DepthPrediction, MultiViewBatch

from .multi_level import images_at_level
from .occlusion import hidden_from_sources


def synthesise_reference(
    images: Float[Tensor, "b v c h w"],
    depth: Float[Tensor, "b h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    world_to_cam: Float[Tensor, "b v 4 4"],
    occlusion: float | None = None,
) -> tuple[Float[Tensor, "b s c h w"], Bool[Tensor, "b s h w"]]:
    """The reference (view 0) as each of the s = v - 1 sources shows it, if the depth is right.

    Differentiable in the depth.

    Args:
        occlusion: None, or the tolerance of ``hidden_from_sources``, whose pixels are then not valid.

    Returns:
        The warped sources, and where they are valid: inside the source, in front of its camera, depth known (> 0).
    """
    warped, valid = zip(
        *(
            warp_to_reference(
                images[:, source],
                depth[:, None],
                intrinsics[:, 0],
                world_to_cam[:, 0],
                intrinsics[:, source],
                world_to_cam[:, source],
            )
            for source in range(1, images.shape[1])
        ),
        strict=True,
    )
    visible = torch.stack(valid, dim=1)[:, :, 0] & (depth > 0)[:, None]
    if occlusion is not None:
        visible = visible & ~hidden_from_sources(depth, intrinsics, world_to_cam, occlusion)
    return torch.stack(warped, dim=1)[:, :, :, 0], visible


@dataclass(eq=False)
class LevelViews:
    """All views on the grid of one level of a prediction. What follows from them is computed once, when asked for.

    It may be shared: do not change it, nor anything that it gives, in place.

    Attributes:
        images: in their own resolution, view 0 the reference.
        intrinsics: of the images.
        depth: of the reference, on the level's grid; 0 where unknown.
        level_intrinsics: on the level's grid.
    """

    images: Float[Tensor, "b v c hi wi"]
    intrinsics: Float[Tensor, "b v 3 3"]
    world_to_cam: Float[Tensor, "b v 4 4"]
    depth: Float[Tensor, "b h w"]
    level_intrinsics: Float[Tensor, "b v 3 3"]
    _syntheses: dict = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def level_images(self) -> Float[Tensor, "b v c h w"]:
        """``images_at_level``."""
        return images_at_level(self.images, self.intrinsics, self.level_intrinsics, tuple(self.depth.shape[-2:]))

    def synthesis(self, occlusion: float | None = None) -> tuple[Float[Tensor, "b s c h w"], Bool[Tensor, "b s h w"]]:
        """``synthesise_reference`` from the images on the level's grid; all tolerances share the warped sources."""
        if occlusion not in self._syntheses:
            self._syntheses[occlusion] = self._warped() if occlusion is None else self._unhidden(occlusion)
        return self._syntheses[occlusion]

    def _warped(self) -> tuple[Float[Tensor, "b s c h w"], Bool[Tensor, "b s h w"]]:
        return synthesise_reference(self.level_images, self.depth, self.level_intrinsics, self.world_to_cam)

    def _unhidden(self, occlusion: float) -> tuple[Float[Tensor, "b s c h w"], Bool[Tensor, "b s h w"]]:
        warped, visible = self.synthesis()
        hidden = hidden_from_sources(self.depth, self.level_intrinsics, self.world_to_cam, occlusion)
        return warped, visible & ~hidden

    def made_of(self) -> Hashable:
        """Equal for what has been made of the same tensors, unchanged since, under the same modes of PyTorch."""
        tensors = self.images, self.intrinsics, self.world_to_cam, self.depth, self.level_intrinsics
        versions = (0 if tensor.is_inference() else tensor._version for tensor in tensors)
        modes = torch.is_grad_enabled(), torch.is_autocast_enabled(self.depth.device.type)
        return *map(id, tensors), *versions, *modes


_SHARED: ContextVar[dict[Hashable, LevelViews] | None] = ContextVar("shared level views", default=None)


@contextmanager
def shared_level_views() -> Iterator[None]:
    """Inside, ``level_views`` of the same tensors are one object; afterwards none is kept."""
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def level_views(prediction: DepthPrediction, batch: MultiViewBatch, level: int) -> LevelViews:
    """The views of one level; inside ``shared_level_views`` those that were asked for before, if there are."""
    views = LevelViews(
        batch.images,
        batch.intrinsics,
        batch.world_to_cam,
        prediction.depths[level],
        prediction.intrinsics[level],
    )
    shared = _SHARED.get()
    # Whatever is kept holds its tensors: no other one takes their identities.
    return views if shared is None else shared.setdefault(views.made_of(), views)
