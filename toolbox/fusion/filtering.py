"""Depth maps of a scene -> filtered depth maps, reference by reference, with bounded memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from toolbox.geometry import pixel_grid

from .consistency import SourceViews, filter_confidence
from .recipe import FusionRecipe
from .sampling import indices_of
from .threads import in_threads
from .views import ArrayCache, FusionView, check_sources

# Pixels of a square follow one another: where two views are turned against each other, rows of one cross many rows of
# the other, and more of its map than a core's cache holds.
_SQUARE = 32

Progress = Callable[[int, int], None]
Sources = Mapping[int, Sequence[int]]


@dataclass(frozen=True)
class ViewCounts:
    """Pixels of a depth map that each filter left: all, known depth, confident, consistent with enough sources."""

    view_id: int
    pixels: int
    known: int
    confident: int
    consistent: int


@dataclass(frozen=True)
class FilteredDepth:
    """A depth map after the consistency filter.

    Attributes:
        view: where it comes from.
        depth: averaged over the consistent sources; 0 where the pixel was refused.
        counts: what each filter left.
    """

    view: FusionView
    depth: Float32[np.ndarray, "h w"]
    counts: ViewCounts


@dataclass(frozen=True)
class Candidates:
    """The confident pixels of a reference."""

    size: tuple[int, int]
    index: Tensor  # into the flattened map
    x: Tensor
    y: Tensor
    depth: Tensor
    known: int


class SceneMaps:
    """The scene's maps on the device, source maps cached."""

    def __init__(
        self, views: Sequence[FusionView], recipe: FusionRecipe, device: torch.device | str, confident_only: bool
    ):
        self.views = {view.id: view for view in views}
        self.recipe, self.device, self.confident_only = recipe, device, confident_only
        self.depths = ArrayCache(lambda i: self._depth(self.views[i]))
        self.images = ArrayCache(lambda i: torch.from_numpy(self._image(self.views[i])).to(device))

        self._known: dict[int, int] = {}
        self._orders: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}

    def _depth(self, view: FusionView) -> Tensor:
        depth = view.read_depth().to(self.device)
        self._known[view.id] = int(depth.count_nonzero())
        return self._confident(view, depth) if self.confident_only else depth

    def _confident(self, view: FusionView, depth: Tensor) -> Tensor:
        confidence = view.read_confidence(tuple(depth.shape))
        if confidence is None:
            return depth
        return filter_confidence(depth, confidence.to(self.device), self.recipe.min_confidence)

    def _image(self, view: FusionView) -> np.ndarray:
        return view.read_image(tuple(self.depths[view.id].shape))

    def cameras(self, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Intrinsics and world_to_cam, float64."""
        matrices = ([self.views[i].intrinsics for i in ids], [self.views[i].world_to_cam for i in ids])
        return tuple(torch.from_numpy(np.array(m, dtype=np.float64)).to(self.device) for m in matrices)

    def candidates(self, view: FusionView) -> Candidates:
        depth = self.depths[view.id]
        if not self.confident_only:
            depth = self._confident(view, depth)
        order, x, y = self._order(depth)
        in_order = depth.reshape(-1).index_select(0, order)
        chosen = indices_of(in_order > 0)
        index, x, y, known = (values.index_select(0, chosen) for values in (order, x, y, in_order))
        return Candidates(tuple(depth.shape), index, x, y, known, self._known[view.id])

    def _order(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Index, x and y of each pixel, square by square."""
        size = tuple(depth.shape)
        if size not in self._orders:
            squares = torch.arange(depth.numel(), device=depth.device).reshape(size).split(_SQUARE)
            order = torch.cat([part.reshape(-1) for row in squares for part in row.split(_SQUARE, dim=1)])
            x, y = pixel_grid(*size, like=depth).reshape(-1, 2).index_select(0, order).T.contiguous()
            self._orders[size] = order, x, y
        return self._orders[size]


def filter_by_consistency(
    views: Sequence[FusionView],
    sources: Sources,
    recipe: FusionRecipe,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[FilteredDepth]:
    """Filter depth maps by confidence and geometric consistency; several at a time, given out in order.

    Args:
        sources: for each view's id the ids of its source views, best first.
        progress: called with (views done, views in all).

    Raises:
        UserError: no views, unknown sources, no view with enough of them, or maps of different sizes.
    """
    return each_filtered(lambda filtered: filtered, views, sources, recipe, progress, device)


def each_filtered(
    use: Callable[[FilteredDepth], Any],
    views: Sequence[FusionView],
    sources: Sources,
    recipe: FusionRecipe,
    progress: Progress | None,
    device: torch.device | str,
) -> Iterator[Any]:
    """What ``use`` makes of each depth map of ``filter_by_consistency``, in the thread that filtered it."""
    chosen = check_sources(views, sources, recipe.num_sources, recipe.min_views)
    maps = SceneMaps(views, recipe, device, confident_only=False)
    used = in_threads(lambda view: use(_filter_view(view, chosen[view.id], maps, recipe)), views)
    for done, result in enumerate(used, start=1):
        yield result
        if progress:
            progress(done, len(views))


def _filter_view(view: FusionView, ids: Sequence[int], maps: SceneMaps, recipe: FusionRecipe) -> FilteredDepth:
    pixels = maps.candidates(view)
    depth = torch.zeros(pixels.size, device=maps.device)
    consistent = 0
    if len(pixels.index) and len(ids) >= recipe.min_views:
        (intrinsics,), (world_to_cam,) = maps.cameras([view.id])
        sources = SourceViews(intrinsics, world_to_cam, [maps.depths[i] for i in ids], *maps.cameras(ids))
        limits = (recipe.max_reprojection_px, recipe.max_relative_depth)
        count, average = sources.agreement(pixels.x, pixels.y, pixels.depth, *limits)
        enough = count >= recipe.min_views
        depth.view(-1).scatter_(0, pixels.index, average.masked_fill_(~enough, 0.0))
        consistent = int(enough.count_nonzero())
    counts = ViewCounts(view.id, depth.numel(), pixels.known, len(pixels.index), consistent)
    return FilteredDepth(view, depth.cpu().numpy(), counts)


def focal_length(view: FusionView) -> float:
    """Geometric mean of the two focal lengths, in pixels."""
    return float(np.sqrt(view.intrinsics[0, 0] * view.intrinsics[1, 1]))
