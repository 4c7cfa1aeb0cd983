"""Depth maps of a scene -> point cloud."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from toolbox.geometry import camera_centre

from .cloud import CloudBuilder, PointCloud, ViewPoints
from .disparity import DisparityFusion
from .filtering import FilteredDepth, Progress, SceneMaps, Sources, ViewCounts, each_filtered, focal_length
from .recipe import FusionRecipe
from .sampling import indices_of
from .threads import in_threads
from .views import FusionView, check_sources


def fuse_by_consistency(
    views: Sequence[FusionView],
    sources: Sources,
    recipe: FusionRecipe,
    progress: Progress | None = None,
    save_filtered: Callable[[int, np.ndarray], None] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[PointCloud, list[ViewCounts]]:
    """Cloud of the pixels that pass the confidence and the geometric consistency filter, at their averaged depth.

    Args:
        sources: for each view's id the ids of its source views, best first.
        progress: called with (views done, views in all).
        save_filtered: called with each view's id and its averaged depth map (H, W), 0 where refused.

    Returns:
        The cloud (possibly empty, with the counts that tell why), and the counts of each view.

    Raises:
        UserError: no views, unknown sources, no view with enough of them, or maps of different sizes.
    """
    builder, counts = CloudBuilder(recipe), []
    for filtered, points in each_filtered(_with_points, views, sources, recipe, progress, device):
        if save_filtered:
            save_filtered(filtered.view.id, filtered.depth)
        builder.add(points)
        counts.append(filtered.counts)
    return builder.build(_total(counts, recipe)), counts


def fuse_by_disparity(
    views: Sequence[FusionView],
    sources: Sources,
    recipe: FusionRecipe,
    progress: Progress | None = None,
    save_filtered: Callable[[int, np.ndarray], None] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[PointCloud, list[ViewCounts]]:
    """Cloud of the confident pixels whose disparity agrees in enough sources; points and colours are averaged.

    Sources take part with their confident pixels only. Arguments, results and errors: see ``fuse_by_consistency``.
    """
    chosen = check_sources(views, sources, recipe.num_sources, recipe.min_views)
    maps = SceneMaps(views, recipe, device, confident_only=True)
    builder, counts = CloudBuilder(recipe), []
    fused = in_threads(lambda view: _fuse_view(view, chosen[view.id], maps, recipe), views)
    for done, (filtered, points) in enumerate(fused, start=1):
        if save_filtered:
            save_filtered(filtered.view.id, filtered.depth)
        builder.add(points)
        counts.append(filtered.counts)
        if progress:
            progress(done, len(views))
    return builder.build(_total(counts, recipe)), counts


def _fuse_view(
    view: FusionView, ids: Sequence[int], maps: SceneMaps, recipe: FusionRecipe
) -> tuple[FilteredDepth, ViewPoints]:
    """The averaged points of a view, and their depth in it."""
    pixels = maps.candidates(view)
    depth = torch.zeros(pixels.size, device=maps.device)
    xyz, rgb = depth.new_zeros(0, 3, dtype=torch.float64), torch.zeros(0, 3, dtype=torch.uint8)
    if len(pixels.index) and len(ids) >= recipe.min_views:
        (intrinsics,), (world_to_cam,) = maps.cameras([view.id])
        fusion = DisparityFusion(
            intrinsics,
            world_to_cam,
            [maps.depths[i] for i in ids],
            [maps.images[i] for i in ids],
            *maps.cameras(ids),
            threshold=recipe.disparity_threshold,
            floor_pixel=recipe.disparity_pixel == "floor",
        )
        own = maps.images[view.id].reshape(-1, 3).index_select(0, pixels.index)
        count, points, colours = fusion.fuse(pixels.x, pixels.y, pixels.depth, own)
        enough = count >= recipe.min_views
        chosen = indices_of(enough)
        points, rgb, index = (values.index_select(0, chosen) for values in (points, colours, pixels.index))
        xyz = points.double() + camera_centre(world_to_cam)
        depth.view(-1)[index] = points @ world_to_cam[2, :3].to(points)
    filtered = depth.cpu().numpy()
    part = ViewPoints(
        xyz.float().cpu().numpy(), rgb.cpu().numpy(), view.id, _median_footprint(view, filtered[filtered > 0])
    )
    counts = ViewCounts(view.id, depth.numel(), pixels.known, len(pixels.index), len(part.xyz))
    return FilteredDepth(view, filtered, counts), part


def _with_points(filtered: FilteredDepth) -> tuple[FilteredDepth, ViewPoints]:
    """A filtered depth map and its points in the world, computed in float64."""
    view, depth = filtered.view, filtered.depth.reshape(-1)
    index = np.flatnonzero(depth > 0)
    row = index // filtered.depth.shape[1]
    x, y = (index - row * filtered.depth.shape[1]).astype(np.float64), row.astype(np.float64)
    z = depth[index]
    cam_to_world = np.asarray(view.world_to_cam[:3, :3], np.float64).T
    rays, centre = cam_to_world @ np.linalg.inv(view.intrinsics), -cam_to_world @ view.world_to_cam[:3, 3]
    xyz = np.empty((len(z), 3), np.float32)
    for axis in range(3):  # a matrix product with three columns would take several times as long
        xyz[:, axis] = (rays[axis, 0] * x + rays[axis, 1] * y + rays[axis, 2]) * z + centre[axis]
    rgb = view.read_image(filtered.depth.shape).reshape(-1, 3).take(index, axis=0)
    return filtered, ViewPoints(xyz, rgb, view.id, _median_footprint(view, z))


def _median_footprint(view: FusionView, depth: np.ndarray) -> float:
    """Median size of a pixel at these depths; 0 where there are none."""
    return float(np.median(depth)) / focal_length(view) if len(depth) else 0.0


def _total(counts: Sequence[ViewCounts], recipe: FusionRecipe) -> dict[str, int]:
    """What each filter left of all views, named with its setting."""
    return {
        "pixels": sum(c.pixels for c in counts),
        "known depth": sum(c.known for c in counts),
        f"confidence > {recipe.min_confidence:g}": sum(c.confident for c in counts),
        f"consistent in >= {recipe.min_views} source views": sum(c.consistent for c in counts),
    }
