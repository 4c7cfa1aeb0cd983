"""Surfaces of sparse voxels: block by block, the same as in one box."""

import numpy as np
import pytest
import torch
import trimesh

from toolbox.fusion import SceneVolume, extract_surface
from toolbox.fusion.sparse_surface import extract_sparse_surface
from toolbox.structures import VoxelMap

ORIGIN = torch.tensor([1.5, -2.0, 0.25])
VOXEL = 0.1


def ball(radius: float = 9.2871) -> VoxelMap:
    """Voxels within two of a sphere's surface, around a centre that is no voxel; coordinates below 0 as well."""
    span = torch.arange(-14, 15)
    coords = torch.cartesian_prod(span, span + 3, span - 5)
    distance = (coords - torch.tensor([0.3, 3.4, -4.8])).norm(dim=1) - radius
    near = distance.abs() < 2
    return VoxelMap(coords[near], distance[near, None] / 2)


def in_one_box(voxels: VoxelMap, seen_only: bool):
    volume = SceneVolume(VOXEL, threshold=2.0)
    volume.origin, volume.voxels = ORIGIN.double(), voxels
    return extract_surface(volume.dense(), seen_only)


def sorted_triangles(mesh) -> np.ndarray:
    """Corners of the triangles, independent of how vertices and triangles are numbered."""
    corners = np.round(mesh.vertices[mesh.triangles].astype(np.float64), 4)
    turned = [np.roll(triangle, -np.lexsort(triangle.T[::-1])[0], axis=0) for triangle in corners]
    return np.array(sorted(t.reshape(-1).tolist() for t in turned))


@pytest.mark.parametrize("seen_only", [True, False])
@pytest.mark.parametrize("block", [5, 8, 64])
def test_blocks_make_the_surface_of_one_box(block, seen_only):
    expected = in_one_box(ball(), seen_only)
    mesh = extract_sparse_surface(ball(), VOXEL, ORIGIN, seen_only, block)
    assert len(mesh.vertices) == len(expected.vertices)
    np.testing.assert_allclose(sorted_triangles(mesh), sorted_triangles(expected), atol=2e-4)


def test_a_ball_is_closed_and_in_its_place():
    mesh = extract_sparse_surface(ball(), VOXEL, ORIGIN, block=6)
    solid = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    assert solid.is_watertight
    np.testing.assert_allclose(solid.centroid, ORIGIN.numpy() + VOXEL * np.array([0.3, 3.4, -4.8]), atol=2e-3)
    assert mesh.rgb.shape == mesh.vertices.shape


def test_voxels_far_apart_need_no_box_around_them():
    near = ball()
    far = VoxelMap(near.coords + torch.tensor([400_000, -300_000, 200_000]), near.feats)
    both = VoxelMap(torch.cat((near.coords, far.coords)), torch.cat((near.feats, far.feats)))
    one = extract_sparse_surface(near, 1.0, torch.zeros(3))
    assert len(extract_sparse_surface(both, 1.0, torch.zeros(3)).triangles) == 2 * len(one.triangles)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_surface_is_an_empty_mesh(sign):
    voxels = VoxelMap(torch.cartesian_prod(*[torch.arange(3)] * 3), torch.full((27, 1), sign))
    assert not len(extract_sparse_surface(voxels, VOXEL, ORIGIN).triangles)
    assert not len(extract_sparse_surface(VoxelMap.empty(voxels.feats), VOXEL, ORIGIN).vertices)
