"""Filtered depth maps -> truncated signed distance volume -> surface."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float32

from toolbox.errors import UserError

from .consistency import filter_confidence
from .filtering import Progress, Sources, filter_by_consistency, focal_length
from .mesh import TriangleMesh, from_open3d
from .recipe import FusionRecipe
from .views import FusionView

_BLOCK = 16  # voxels along an edge of a block of the sparse volume
_AUTO_VOXEL = 2.0  # footprints


def fuse_tsdf(
    views: Sequence[FusionView],
    sources: Sources,
    recipe: FusionRecipe,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> TriangleMesh:
    """Surface of the depth maps that pass the confidence and consistency filters, by Open3D's sparse voxel volume.

    Curless and Levoy's running average of truncated signed distances and of colours, then marching cubes.

    Args:
        sources: for each view's id the ids of its source views, best first.
        progress: called with (views done, views in all).
        device: of the filter; the volume is on the CPU.

    Raises:
        UserError: as ``fuse_by_consistency``, or no surface came out (says what each filter left).
    """
    filtered = filter_by_consistency(views, sources, recipe, progress, device)
    return integrate_filtered(((each.view, each.depth) for each in filtered), views, recipe)


def integrate_filtered(
    filtered: Iterable[tuple[FusionView, Float32[np.ndarray, "_ _"]]], views: Sequence[FusionView], recipe: FusionRecipe
) -> TriangleMesh:
    """``fuse_tsdf`` of depth maps that were filtered before.

    Args:
        filtered: views and their filtered depth, 0 where refused.
        views: all of the scene, from which an automatic voxel size is taken.

    Raises:
        UserError: as ``fuse_tsdf``.
    """
    voxel = recipe.tsdf_voxel or _AUTO_VOXEL * median_footprint(views, recipe)
    volume = _Volume(voxel, recipe)
    kept = 0
    for view, depth in filtered:
        consistent = int((depth > 0).sum())
        kept += consistent
        if consistent:
            volume.integrate(view, depth)
    mesh = volume.extract() if kept else None
    if mesh is None or not len(mesh.triangles):
        raise UserError(
            "the TSDF surface",
            f"is empty: {kept} pixels passed the filters of {len(views)} views, and no voxel of {voxel:g} got "
            f"{recipe.tsdf_min_weight:g} observations",
            "Loosen the filters or lower tsdf_min_weight in the fusion recipe",
        )
    return mesh


def median_footprint(views: Sequence[FusionView], recipe: FusionRecipe) -> float:
    """Median size of a pixel on the surface (depth / focal length), from up to 16 of the views.

    Raises:
        UserError: these views have no confident depth.
    """
    medians = []
    for view in views[:: max(1, len(views) // 16)]:
        depth = view.read_depth()
        confidence = view.read_confidence(tuple(depth.shape))
        if confidence is not None:
            depth = filter_confidence(depth, confidence, recipe.min_confidence)
        if (depth > 0).any():
            medians.append(float(depth[depth > 0].median()) / focal_length(view))
    if not medians:
        raise UserError(
            "the depth maps",
            f"hold no depth with confidence > {recipe.min_confidence:g}",
            "Lower min_confidence in the fusion recipe, or give tsdf_voxel",
        )
    return float(np.median(medians))


class _Volume:
    """A sparse volume of signed distance, weight and colour."""

    def __init__(self, voxel: float, recipe: FusionRecipe):
        import open3d as o3d

        self._o3d, self._recipe = o3d, recipe
        kinds = (o3d.core.float32, o3d.core.float32, o3d.core.float32)
        self._grid = o3d.t.geometry.VoxelBlockGrid(
            ("tsdf", "weight", "color"), kinds, ((1,), (1,), (3,)), voxel, _BLOCK, 1000
        )

    def integrate(self, view: FusionView, depth: Float32[np.ndarray, "h w"]) -> None:
        core, image = self._o3d.core, self._o3d.t.geometry.Image
        depth_image = image(core.Tensor(np.ascontiguousarray(depth)))
        colour = image(core.Tensor(view.read_image(depth.shape).astype(np.float32)))
        # Open3D truncates a voxel's position to its pixel, so there pixel centres lie at 0.5.
        intrinsics = np.array(view.intrinsics, np.float64)
        intrinsics[:2, 2] += 0.5
        camera = (core.Tensor(intrinsics), core.Tensor(np.array(view.world_to_cam, np.float64)))
        limits = (1.0, float(depth.max()) * 1.01, float(self._recipe.tsdf_truncation))
        blocks = self._grid.compute_unique_block_coordinates(depth_image, *camera, *limits)
        self._grid.integrate(blocks, depth_image, colour, *camera, *limits)

    def extract(self) -> TriangleMesh:
        mesh = self._grid.extract_triangle_mesh(self._recipe.tsdf_min_weight).to_legacy()
        # Colours were integrated as 0..255.
        mesh.vertex_colors = self._o3d.utility.Vector3dVector(np.asarray(mesh.vertex_colors) / 255)
        return from_open3d(mesh)
