"""What a multiplane image says about two views: rendered colours and depth, beside the real ones."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass
class RenderedView:
    """One view of each sample, rendered from planes.

    Attributes:
        image: the real one, RGB in [0, 1].
        synthesis: the rendered one.
        disparity: 1 / depth, in the planes' own scale.
        seen: pixels that enough planes show.
        point_sample: which sample each point of the volume's surface belongs to.
        point_pixels: the nearest pixel (x, y) of each of these points.
        point_depth: their depth, in metres.
    """

    image: Float[Tensor, "b 3 h w"]
    synthesis: Float[Tensor, "b 3 h w"]
    disparity: Float[Tensor, "b h w"]
    seen: Bool[Tensor, "b h w"]
    point_sample: Int64[Tensor, " n"]
    point_pixels: Int64[Tensor, "n 2"]
    point_depth: Float[Tensor, " n"]

    def disparity_at_points(self) -> Float[Tensor, " n"]:
        """The rendered disparity at the points."""
        return self.disparity[self.point_sample, self.point_pixels[:, 1], self.point_pixels[:, 0]]


@dataclass
class RenderedPair:
    """The view that the planes were predicted for, another view, and the planes' scale.

    Attributes:
        source: the view of the planes.
        target: another view.
        scale: disparity of the planes over disparity in 1 / metres, per sample; 1 where the volume shows no surface.
    """

    source: RenderedView
    target: RenderedView
    scale: Float[Tensor, " b"]
