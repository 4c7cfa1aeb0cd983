"""Depth maps -> filtered depth maps -> point cloud -> surface; and TSDF fusion. Classical, nothing learned."""

from .cloud import MergedCells, PointCloud, estimate_normals, merge_in_cells, point_spacing
from .consistency import (
    GeometricConsistency,
    average_consistent_depth,
    check_geometric_consistency,
    filter_confidence,
)
from .files import read_cloud, write_cloud, write_mesh
from .filtering import FilteredDepth, ViewCounts, filter_by_consistency
from .fuse import fuse_by_consistency, fuse_by_disparity
from .mesh import TriangleMesh, poisson_mesh
from .recipe import DISPARITY_DTU, DISPARITY_TANKS, DTU, PATCHMATCHNET, PRESETS, FusionRecipe
from .scene_mesher import SceneMesher
from .scene_volume import SceneVolume
from .tsdf import fuse_tsdf, integrate_filtered
from .tsdf_volume import TSDFIntegrator, TSDFVolume, extract_surface, view_frustum
from .views import FusionView

__all__ = [
    "DISPARITY_DTU",
    "DISPARITY_TANKS",
    "DTU",
    "PATCHMATCHNET",
    "PRESETS",
    "FilteredDepth",
    "FusionRecipe",
    "FusionView",
    "GeometricConsistency",
    "MergedCells",
    "PointCloud",
    "SceneMesher",
    "SceneVolume",
    "TSDFIntegrator",
    "TSDFVolume",
    "TriangleMesh",
    "ViewCounts",
    "average_consistent_depth",
    "check_geometric_consistency",
    "estimate_normals",
    "extract_surface",
    "filter_by_consistency",
    "filter_confidence",
    "fuse_by_consistency",
    "fuse_by_disparity",
    "fuse_tsdf",
    "integrate_filtered",
    "merge_in_cells",
    "point_spacing",
    "poisson_mesh",
    "read_cloud",
    "view_frustum",
    "write_cloud",
    "write_mesh",
]
