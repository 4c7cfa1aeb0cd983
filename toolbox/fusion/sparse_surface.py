"""The surface of a TSDF at sparse voxels, block by block: memory follows the surface, not the box around it."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolbox.structures import VoxelMap

from .mesh import TriangleMesh
from .tsdf_volume import TSDFVolume, extract_surface, no_surface


def extract_sparse_surface(
    voxels: VoxelMap, voxel_size: float, origin: Float[Tensor, "3"], seen_only: bool = True, block: int = 64
) -> TriangleMesh:
    """The same surface as ``extract_surface`` finds in the box around all voxels, without that box.

    Args:
        voxels: their TSDF, one channel.
        voxel_size: in metres.
        origin: centre of the voxel (0, 0, 0) in the world.
        seen_only: see ``extract_surface``.
        block: cells along an edge of the blocks that are looked at one after the other.

    Returns:
        The mesh in the world; vertices on the blocks' faces are there once. Grey.
    """
    if not len(voxels):
        return no_surface()
    vertices, triangles, count = [], [], 0
    for start, tsdf, known in _blocks(voxels, block):
        mesh = extract_surface(TSDFVolume(tsdf, known, torch.zeros(3), 1.0), seen_only)
        vertices.append(mesh.vertices.astype(np.float64) + start.numpy())
        triangles.append(mesh.triangles + count)
        count += len(mesh.vertices)
    if not count:
        return no_surface()
    places, rows = _joined(np.concatenate(vertices), block)
    world = places * voxel_size + origin.double().cpu().numpy()
    grey = np.full(world.shape, 128, np.uint8)
    return TriangleMesh(world.astype(np.float32), rows[np.concatenate(triangles)].astype(np.int32), grey)


def _blocks(
    voxels: VoxelMap, block: int
) -> Iterator[tuple[Int64[Tensor, "3"], Float[Tensor, "x y z"], Float[Tensor, "x y z"]]]:
    """Each block's first voxel, TSDF (1 where unknown) and weight (0 there); blocks share the voxels of their faces."""
    coords, values = voxels.coords.cpu(), voxels.feats[:, 0].detach().float().cpu()
    low, high = coords.amin(dim=0), coords.amax(dim=0)
    numbers, rows = [], []
    for back in product((0, 1), repeat=3):
        shift = torch.tensor(back)
        shared = ((coords % block == 0) | (shift == 0)).all(dim=1).nonzero()[:, 0]
        numbers.append(coords[shared].div(block, rounding_mode="floor") - shift)
        rows.append(shared)
    blocks, member = torch.unique(torch.cat(numbers), dim=0, return_inverse=True)
    order = torch.argsort(member, stable=True)
    of_blocks = torch.cat(rows)[order].split(torch.bincount(member, minlength=len(blocks)).tolist())
    for number, inside in zip(blocks, of_blocks, strict=True):
        start = torch.maximum(number * block, low)
        shape = tuple((torch.minimum((number + 1) * block, high) - start + 1).tolist())
        place = tuple((coords[inside] - start).T)
        tsdf, known = torch.ones(shape), torch.zeros(shape)
        tsdf[place], known[place] = values[inside], 1.0
        yield start, tsdf, known


def _joined(vertices: Float[np.ndarray, "n 3"], block: int) -> tuple[Float[np.ndarray, "m 3"], Int64[np.ndarray, " n"]]:
    """Vertices without those that another block has on the same face, and where each went.

    All blocks at an edge between two voxels count from the same voxel along it: their vertices there are equal.
    """
    on_face = (vertices % block == 0).any(axis=1)
    shared, place = np.unique(vertices[on_face], axis=0, return_inverse=True)
    rows = np.empty(len(vertices), np.int64)
    rows[~on_face] = np.arange((~on_face).sum())
    rows[on_face] = (~on_face).sum() + place.reshape(-1)
    return np.concatenate((vertices[~on_face], shared)), rows
