"""Point clouds: merging, spacing, normals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, UInt8

from toolbox.errors import UserError

from .recipe import FusionRecipe


@dataclass(frozen=True)
class PointCloud:
    """Coloured points of a scene.

    Attributes:
        xyz: in the scene's world and unit.
        rgb: colours.
        view_id: a view that saw each point; its camera tells which side of the surface is outside.
        normals: unit normals, towards that camera; or None.
        spacing: distance of neighbouring points on the surface, in the scene's unit; None where nobody measured it.
        counts: what each step of the fusion left, in order; names the step that left nothing.
    """

    xyz: Float32[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    view_id: Int32[np.ndarray, " n"]
    normals: Float32[np.ndarray, "n 3"] | None = None
    spacing: float | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.xyz)

    def require_points(self) -> None:
        """Refuse an empty cloud, saying which step of the fusion left nothing.

        Raises:
            UserError: the cloud is empty.
        """
        if len(self):
            return
        steps = ", ".join(f"{name}: {count}" for name, count in self.counts.items())
        culprit = next((name for name, count in self.counts.items() if count == 0), None)
        raise UserError(
            "the point cloud",
            "is empty" + (f"; nothing passed '{culprit}' (left after each step: {steps})" if culprit else ""),
            "Loosen that setting of the fusion recipe, or check the depth maps and the camera poses",
        )


@dataclass(frozen=True)
class MergedCells:
    """Points merged in the cells of a grid: their mean, the cell of each original point, and its number of points."""

    cloud: PointCloud
    cell_of_point: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, " m"]


def merge_in_cells(cloud: PointCloud, cell: float, weight: Float[np.ndarray, " n"] | None = None) -> MergedCells:
    """Average positions, colours and normals of the points of each cell of a cubic grid.

    Args:
        cell: edge of a cell in the scene's unit.
        weight: how many points each one already stands for; None: one.
    """
    key, origin = _cell_keys(cloud.xyz, cell)
    _, first, cell_of_point = np.unique(key, return_index=True, return_inverse=True)
    total = np.bincount(cell_of_point, weights=weight, minlength=len(first)).astype(np.float64)

    def mean(values: np.ndarray, origin: np.ndarray) -> np.ndarray:
        # A column at a time: ten million points in float64 are 80 MB each.
        columns = []
        for column, start in zip(values.T, origin, strict=True):
            offsets = column - start
            sums = np.bincount(cell_of_point, offsets if weight is None else offsets * weight, minlength=len(first))
            columns.append(sums / total + start)
        return np.stack(columns, axis=1)

    normals = None
    if cloud.normals is not None:
        normals = mean(cloud.normals, np.zeros(3))
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        # Opposite normals of one cell cancel; one of them is better than none.
        normals = np.where(length > 1e-3, normals / np.maximum(length, 1e-12), cloud.normals[first]).astype(np.float32)
    merged = replace(
        cloud,
        xyz=mean(cloud.xyz, origin).astype(np.float32),
        rgb=np.rint(mean(cloud.rgb, np.zeros(3))).astype(np.uint8),
        view_id=cloud.view_id[first],
        normals=normals,
        spacing=None if cloud.spacing is None else max(cloud.spacing, cell),
    )
    return MergedCells(merged, cell_of_point, total)


def _cell_keys(xyz: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """A number for each point's cell, and the grid's origin."""
    key, origin = np.zeros(len(xyz), np.int64), np.zeros(3)
    if not len(xyz):
        return key, origin
    origin = xyz.min(0).astype(np.float64)
    shape = np.floor((xyz.max(0) - origin) / cell) + 1
    if np.prod(shape) >= 2**62:
        raise UserError(
            "the point cloud",
            f"spans {np.ptp(xyz, axis=0)} with cells of {cell:g}: too far apart to merge",
            "Filter the depth maps more strictly; some points lie extremely far away",
        )
    for axis in range(3):
        key *= int(shape[axis])
        key += np.floor((xyz[:, axis] - origin[axis]) / cell).astype(np.int64)
    return key, origin


def point_spacing(cloud: PointCloud) -> float:
    """Distance of neighbouring points: as measured by the fusion, or the median distance to the nearest point.

    Raises:
        UserError: the cloud has fewer than two distinct points.
    """
    if cloud.spacing is not None:
        return cloud.spacing
    cloud.require_points()
    from scipy.spatial import cKDTree

    step = max(1, len(cloud) // 20_000)
    distance, _ = cKDTree(cloud.xyz).query(cloud.xyz[::step], k=[2])
    distance = distance[np.isfinite(distance) & (distance > 0)]
    if not distance.size:
        raise UserError("the point cloud", "has fewer than two distinct points", "Fuse more depth maps")
    return float(np.median(distance))


def estimate_normals(
    cloud: PointCloud, camera_centres: Mapping[int, Float[np.ndarray, "3"]], recipe: FusionRecipe
) -> PointCloud:
    """The cloud with normals by local plane fits, each turned to the camera that saw its point.

    Points of several views are merged first (``surface_voxel``): otherwise the nearest neighbours of a point are
    the same place seen by other views, and the plane fits their noise.

    Args:
        camera_centres: position of each view's camera in the world, by view id.

    Raises:
        UserError: the cloud is empty.
    """
    cloud.require_points()
    import open3d as o3d

    merged = merge_for_surface(replace(cloud, normals=None), recipe)
    points = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(merged.cloud.xyz.astype(np.float64)))
    radius = recipe.normal_radius * point_spacing(merged.cloud)
    points.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=radius, max_nn=recipe.normal_neighbours))
    normals = np.asarray(points.normals)[merged.cell_of_point].astype(np.float32)
    ids, index = np.unique(cloud.view_id, return_inverse=True)
    centres = np.stack([np.asarray(camera_centres[int(i)], dtype=np.float64) for i in ids])
    towards = centres[index] - cloud.xyz
    normals[np.einsum("nc,nc->n", towards, normals) < 0] *= -1
    # Too few neighbours, or all at one place: no plane. The camera's direction is the best guess.
    lost = ~(np.linalg.norm(normals, axis=1) > 0.5)
    normals[lost] = towards[lost] / np.linalg.norm(towards[lost], axis=1, keepdims=True)
    return replace(cloud, normals=normals)


def merge_for_surface(cloud: PointCloud, recipe: FusionRecipe) -> MergedCells:
    """Points merged in the cells that normals and Poisson work on (``surface_voxel``); 0 merges only equal points."""
    spacing = point_spacing(cloud)
    return merge_in_cells(replace(cloud, spacing=spacing), max(recipe.surface_voxel, 1e-6) * spacing)


@dataclass(frozen=True)
class ViewPoints:
    """The points of one view; ``footprint`` is the median size of a pixel at them, in the scene's unit."""

    xyz: Float32[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    view_id: int
    footprint: float


class CloudBuilder:
    """Collects the points of view after view, merging them in cells whenever they exceed the recipe's maximum."""

    def __init__(self, recipe: FusionRecipe):
        self._recipe = recipe
        self._parts: list[tuple[PointCloud, np.ndarray | None]] = []
        self._footprints: list[tuple[float, int]] = []
        self._cell = 0.0

    def add(self, points: ViewPoints) -> None:
        """Add the points of a view."""
        if not len(points.xyz):
            return
        view_id = np.full(len(points.xyz), points.view_id, np.int32)
        self._parts.append((PointCloud(points.xyz, points.rgb, view_id), None))
        self._footprints.append((points.footprint, len(points.xyz)))
        if sum(len(part) for part, _ in self._parts) > self._recipe.max_points:
            self._shrink()

    def _spacing(self) -> float:
        """Median footprint over the points (of the views' medians)."""
        sizes, points = (np.array(column) for column in zip(*sorted(self._footprints), strict=True))
        return float(sizes[np.searchsorted(np.cumsum(points), points.sum() / 2)])

    def _joined(self) -> PointCloud:
        return PointCloud(
            np.concatenate([part.xyz for part, _ in self._parts]),
            np.concatenate([part.rgb for part, _ in self._parts]),
            np.concatenate([part.view_id for part, _ in self._parts]),
        )

    def _merge(self, cell: float) -> int:
        joined = self._joined()
        weight = np.concatenate([np.ones(len(part)) if w is None else w for part, w in self._parts])
        self._parts = []  # frees the parts before the merge needs its own memory
        merged = merge_in_cells(joined, cell, weight)
        self._parts = [(merged.cloud, merged.weight)]
        self._cell = cell
        return len(merged.cloud)

    def _shrink(self) -> None:
        # Down to three quarters, so that not every further view merges everything again.
        cell = max(self._cell, self._spacing())
        while self._merge(cell) > 0.75 * self._recipe.max_points:
            cell *= 1.25

    def build(self, counts: dict[str, int]) -> PointCloud:
        """The cloud of everything added; ``counts`` are the fusion's, to which the points left are added."""
        if not self._parts:
            empty = np.zeros((0, 3), np.float32)
            return PointCloud(empty, empty.astype(np.uint8), np.zeros(0, np.int32), counts=counts)
        cell = self._recipe.cloud_voxel * self._spacing()
        if cell > self._cell:
            self._merge(cell)
        cloud = self._joined()
        spacing = max(self._spacing(), self._cell)
        return replace(cloud, spacing=spacing, counts=counts | {"points after merging": len(cloud)})
