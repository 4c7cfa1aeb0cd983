"""The cameras as one pyramid level sees them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from toolbox.geometry import scale_intrinsics


@dataclass
class LevelGeometry:
    """What hypotheses and warps need to know of a level.

    Attributes:
        intrinsics: of the level's grid; view 0 is the reference.
        world_to_cam: of all views.
        depth_range: (near, far) per sample.
        size: (height, width) of the level.
    """

    intrinsics: Float[Tensor, "b v 3 3"]
    world_to_cam: Float[Tensor, "b v 4 4"]
    depth_range: Float[Tensor, "b 2"]
    size: tuple[int, int]

    @property
    def num_sources(self) -> int:
        """Number of source views."""
        return self.intrinsics.shape[1] - 1


def level_intrinsics(
    intrinsics: Float[Tensor, "b v 3 3"],
    image_size: tuple[int, int],
    level_size: tuple[int, int],
    half_pixel: bool,
    published: bool = False,
) -> Float[Tensor, "b v 3 3"]:
    """Intrinsics of a level from those of the image.

    Args:
        half_pixel: see ``scale_intrinsics``.
        published: as the published CVP-MVSNet does: no half-pixel shift, and the ratio of heights for x too.
    """
    scale_y = level_size[0] / image_size[0]
    scale_x = scale_y if published else level_size[1] / image_size[1]
    return scale_intrinsics(intrinsics, scale_x, scale_y, half_pixel and not published)
