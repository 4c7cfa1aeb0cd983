"""Points to voxels and back."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolbox.errors import UserError

from .row_sums import RowSums
from .tensor import PointTensor, SparseTensor
from .voxels import VoxelFamily, VoxelSet, distinct_voxels, voxels_of_points

_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


def voxelize(points: PointTensor) -> SparseTensor:
    """The voxels of stride 1 that hold points, sorted by (batch, x, y, z), with the mean features of their points.

    A point lies in the voxel ``floor(coords)``; coordinates count voxels (``PointTensor.in_voxels``).

    Raises:
        UserError: coordinates are not finite, or out of range.
    """
    voxels = distinct_voxels(voxels_of_points(points.coords))
    empty = SparseTensor(voxels.coords, points.feats.new_zeros(len(voxels), 0), 1, VoxelFamily(voxels))
    return points_to_voxels(points, empty)


def points_to_voxels(points: PointTensor, voxels: SparseTensor) -> SparseTensor:
    """The mean features of the points in each voxel; 0 in a voxel without points.

    Points outside all voxels are left out.

    Args:
        voxels: gives the voxels; its features are not used.
    """
    means = _cached(points, voxels.voxels, "mean", _mean_over_points)
    return voxels.replace(means(points.feats))


def devoxelize(
    voxels: SparseTensor, points: PointTensor, mode: str = "trilinear", published_nearest: bool = False
) -> PointTensor:
    """The features of voxels at points; the points' own features are not used, and no gradient flows to coordinates.

    Args:
        mode: 'trilinear' interpolates between the 8 voxels around the point, a voxel's value standing at
            its lowest corner: weights of voxels that are missing are left out, and the others divided by their sum plus
            1e-8. 'nearest' takes the voxel that holds the point, 0 if it is missing.
        published_nearest: 'nearest' with the value multiplied by the voxel's trilinear weight, as torchsparse 1.4 does.

    Raises:
        UserError: there is no such mode; coordinates are not finite, or out of range.
    """
    makers = {"trilinear": _trilinear, "nearest": _damped_nearest if published_nearest else _nearest}
    if mode not in makers:
        raise UserError(f"mode='{mode}'", "no such way from voxels to points", f"Use one of {', '.join(makers)}")
    key = f"{mode}, published" if published_nearest else mode
    return points.replace(_cached(points, voxels.voxels, key, makers[mode])(voxels.feats))


def _cached(points: PointTensor, voxels: VoxelSet, what: str, make: Callable[[Tensor, VoxelSet], RowSums]) -> RowSums:
    key = (voxels, what)
    if key not in points.cache:
        points.cache[key] = make(points.coords.detach(), voxels)
    return points.cache[key]


def _mean_over_points(coords: Float[Tensor, "n 4"], voxels: VoxelSet) -> RowSums:
    rows = _rows_of_points(coords, voxels)
    points = (rows >= 0).nonzero()[:, 0]
    rows = rows[points]
    counts = torch.bincount(rows, minlength=len(voxels))
    return RowSums(points, rows, 1 / counts[rows].to(coords.dtype), len(coords), len(voxels))


def _nearest(coords: Float[Tensor, "n 4"], voxels: VoxelSet) -> RowSums:
    rows = _rows_of_points(coords, voxels)
    points = (rows >= 0).nonzero()[:, 0]
    return RowSums(rows[points], points, coords.new_ones(len(points)), len(voxels), len(coords))


def _trilinear(coords: Float[Tensor, "n 4"], voxels: VoxelSet) -> RowSums:
    rows, weights = _corners(coords, voxels)
    points, corners = (rows >= 0).nonzero(as_tuple=True)
    return RowSums(rows[points, corners], points, weights[points, corners], len(voxels), len(coords))


def _damped_nearest(coords: Float[Tensor, "n 4"], voxels: VoxelSet) -> RowSums:
    rows, weights = _corners(coords, voxels)
    points = (rows[:, 0] >= 0).nonzero()[:, 0]
    return RowSums(rows[points, 0], points, weights[points, 0], len(voxels), len(coords))


def _rows_of_points(coords: Float[Tensor, "n 4"], voxels: VoxelSet) -> Int64[Tensor, " n"]:
    """The row of the voxel that holds each point, or -1."""
    return voxels.find(voxels_of_points(coords, voxels.stride))


def _corners(coords: Float[Tensor, "n 4"], voxels: VoxelSet) -> tuple[Int64[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """The rows of the 8 voxels around each point (-1 if missing), and their weights."""
    floored = voxels_of_points(coords, voxels.stride)
    steps = [(voxels.stride * x, voxels.stride * y, voxels.stride * z) for x, y, z in _CORNERS]
    rows = voxels.neighbours(floored, steps).T.long()
    upper = (coords[:, None, 1:] - floored[:, None, 1:]) / voxels.stride
    is_upper = torch.tensor(_CORNERS, dtype=torch.bool, device=coords.device)
    weights = torch.where(is_upper, upper, 1 - upper).prod(dim=2) * (rows >= 0)
    return rows, weights / (weights.sum(dim=1, keepdim=True) + 1e-8)
