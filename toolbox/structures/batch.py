"""What goes into a network and what comes out."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class MultiViewBatch:
    """A batch of reference views with their sources; view 0 is the reference.

    Attributes:
        images: RGB in [0, 1].
        intrinsics: of the images.
        world_to_cam: world to camera, OpenCV axes; float64 where the world's origin may be far away.
        depth_range: (near, far) of the reference, per sample.
        depth: ground truth or pseudo depth of the reference, 0 where unknown; or None.
        meta: per sample, where it comes from (scene, view ids, ...).
    """

    images: Float[Tensor, "b v 3 h w"]
    intrinsics: Float[Tensor, "b v 3 3"]
    world_to_cam: Float[Tensor, "b v 4 4"]
    depth_range: Float[Tensor, "b 2"]
    depth: Float[Tensor, "b h w"] | None = None
    meta: list[dict] | None = None

    def to(self, device: torch.device | str) -> "MultiViewBatch":
        """The same batch with its tensors on ``device``."""
        moved = {f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **moved)


@dataclass
class DepthPrediction:
    """Depth of the reference view of each sample.

    Attributes:
        depths: finest first, each (B, h, w), in the scene's unit.
        intrinsics: of each level's grid, all views (reference first): (B, V, 3, 3) each, finest first. They say which
            image position a depth pixel stands for, whatever the level's resolution and alignment.
        confidence: in [0, 1], on the image's grid.
        probabilities: of the finest level's hypotheses, (B, D, h, w); only when asked for.
        hypotheses: depth hypotheses of each level, (B, D, h, w) finest first; only when asked for.
    """

    depths: list[Float[Tensor, "b _ _"]]
    intrinsics: list[Float[Tensor, "b v 3 3"]]
    confidence: Float[Tensor, "b h w"]
    probabilities: Float[Tensor, "b d _ _"] | None = None
    hypotheses: list[Float[Tensor, "b _ _ _"]] | None = None
