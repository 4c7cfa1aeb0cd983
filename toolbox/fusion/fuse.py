"""Depth maps of a scene -> point cloud."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from toolbox.geometry import camera_centre

from .cloud import CloudBuilder, PointCloud
from .disparity import DisparityFusion
from .filtering import Progress, SceneMaps, Sources, ViewCounts, filter_by_consistency, focal_length
from .recipe import FusionRecipe
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
    for filtered in filter_by_consistency(views, sources, recipe, progress, device):
        view = filtered.view
        if save_filtered:
            save_filtered(view.id, filtered.depth)
        kept = filtered.depth > 0
        depth = filtered.depth[kept]
        image = view.read_image(filtered.depth.shape)
        builder.add(_world_points(view, kept, depth), image[kept], view.id, depth / focal_length(view))
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
    for done, view in enumerate(views, start=1):
        pixels, ids, consistent = maps.candidates(view), chosen[view.id], 0
        filtered = torch.zeros(pixels.size, device=device)
        if len(pixels.index) and len(ids) >= recipe.min_views:
            (intrinsics,), (world_to_cam,) = maps.cameras([view.id])
            rgb = maps.images[view.id].reshape(-1, 3)[pixels.index]
            fusion = DisparityFusion(
                intrinsics,
                world_to_cam,
                maps.source_depths(ids),
                maps.source_images(ids),
                *maps.cameras(ids),
                threshold=recipe.disparity_threshold,
                floor_pixel=recipe.disparity_pixel == "floor",
            )
            count, points, colours = fusion.fuse(pixels.xy, pixels.depth, rgb)
            enough = count >= recipe.min_views
            xyz = points[enough].double() + camera_centre(world_to_cam)
            footprint = (pixels.depth[enough] / focal_length(view)).cpu().numpy()
            builder.add(xyz.float().cpu().numpy(), colours[enough].cpu().numpy(), view.id, footprint)
            filtered.view(-1)[pixels.index[enough]] = points[enough] @ world_to_cam[2, :3].to(points)
            consistent = int(enough.sum())
        if save_filtered:
            save_filtered(view.id, filtered.cpu().numpy())
        counts.append(ViewCounts(view.id, int(np.prod(pixels.size)), pixels.known, len(pixels.index), consistent))
        if progress:
            progress(done, len(views))
    return builder.build(_total(counts, recipe)), counts


def _world_points(view: FusionView, kept: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """World points (n, 3) float32 of the pixels kept, computed in float64."""
    y, x = np.nonzero(kept)
    cam_to_world = np.asarray(view.world_to_cam[:3, :3], np.float64).T
    rays = np.stack((x, y, np.ones_like(x)), axis=1) @ (cam_to_world @ np.linalg.inv(view.intrinsics)).T
    return (rays * depth[:, None] - cam_to_world @ view.world_to_cam[:3, 3]).astype(np.float32)


def _total(counts: Sequence[ViewCounts], recipe: FusionRecipe) -> dict[str, int]:
    """What each filter left of all views, named with its setting."""
    return {
        "pixels": sum(c.pixels for c in counts),
        "known depth": sum(c.known for c in counts),
        f"confidence > {recipe.min_confidence:g}": sum(c.confident for c in counts),
        f"consistent in >= {recipe.min_views} source views": sum(c.consistent for c in counts),
    }
