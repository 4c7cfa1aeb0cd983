import re

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from toolbox.errors import UserError
from toolbox.fusion import (
    FusionRecipe,
    PointCloud,
    TriangleMesh,
    estimate_normals,
    fuse_by_consistency,
    point_spacing,
    poisson_mesh,
)


def sphere_cloud(count=6000, radius=2.0, only_above=-np.inf):
    """Evenly spread points (a Fibonacci lattice) with outward normals and a colour per octant."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    angle = np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z * z)
    normals = np.stack((ring * np.cos(angle), ring * np.sin(angle), z), 1).astype(np.float32)
    normals = normals[normals[:, 2] > only_above]
    xyz = normals * np.float32(radius) + np.float32([3, -1, 5])
    return PointCloud(xyz, np.where(normals > 0, 220, 30).astype(np.uint8), np.zeros(len(xyz), np.int32), normals)


def test_sphere_is_recovered_closed_outwards_and_coloured():
    mesh = poisson_mesh(sphere_cloud(), FusionRecipe())
    offset = mesh.vertices - np.float32([3, -1, 5])
    radius = np.linalg.norm(offset, axis=1)
    assert np.abs(radius / 2 - 1).max() < 0.01
    solid = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)
    inner = (np.abs(offset) > 0.4).all(1)
    assert np.abs(mesh.rgb[inner].astype(int) - np.where(offset[inner] > 0, 220, 30)).max() <= 20  # interpolated


def test_same_mesh_at_each_run():
    first, second = (poisson_mesh(sphere_cloud(3000), FusionRecipe()) for _ in range(2))
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.triangles, second.triangles)


def test_what_no_point_supports_is_trimmed():
    cloud = sphere_cloud(only_above=0.2)
    recipe = FusionRecipe(trim_distance=2.0)
    mesh = poisson_mesh(cloud, recipe)
    reach = 2.0 * 2.0 * point_spacing(cloud)
    assert cKDTree(cloud.xyz).query(mesh.vertices)[0].max() < reach + 0.02
    assert cKDTree(mesh.vertices).query(cloud.xyz)[0].max() < reach
    untrimmed = poisson_mesh(cloud, FusionRecipe(trim_distance=1000.0))
    assert cKDTree(cloud.xyz).query(untrimmed.vertices)[0].max() > 2 * reach
    fewer = poisson_mesh(cloud, FusionRecipe(trim_distance=1000.0, trim_quantile=0.3))
    assert len(fewer.vertices) == pytest.approx(0.7 * len(untrimmed.vertices), rel=0.05)


def test_fused_views_become_a_sphere(ring, sphere_radius, all_others):
    recipe = FusionRecipe()
    cloud, _ = fuse_by_consistency(ring, all_others(ring), recipe)
    centres = {v.id: -v.world_to_cam[:3, :3].T @ v.world_to_cam[:3, 3] for v in ring}
    mesh = poisson_mesh(estimate_normals(cloud, centres, recipe), recipe)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radius / sphere_radius - 1).max() < 0.02
    assert abs(radius.mean() / sphere_radius - 1) < 0.005


def test_cloud_without_points_or_normals_is_refused():
    none = np.zeros((0, 3), np.float32)
    empty = PointCloud(none, none.astype(np.uint8), np.zeros(0, np.int32), counts={"pixels": 9, "known depth": 0})
    expected = "nothing passed 'known depth' (left after each step: pixels: 9, known depth: 0)"
    with pytest.raises(UserError, match=re.escape(expected)):
        poisson_mesh(empty, FusionRecipe())
    with pytest.raises(UserError, match="is empty"):
        estimate_normals(empty, {}, FusionRecipe())
    bare = PointCloud(np.ones((4, 3), np.float32), np.zeros((4, 3), np.uint8), np.zeros(4, np.int32))
    with pytest.raises(UserError, match="no normals"):
        poisson_mesh(bare, FusionRecipe())


def test_selecting_vertices_drops_their_triangles():
    vertices = np.arange(15, dtype=np.float32).reshape(5, 3)
    mesh = TriangleMesh(vertices, np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]], np.int32), np.zeros((5, 3), np.uint8))
    kept = mesh.select(np.array([False, True, True, True, True]))
    assert kept.triangles.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert np.array_equal(kept.vertices, vertices[1:])
    lone = mesh.select(np.array([True, True, True, False, True]))  # vertex 4 stays without a triangle
    assert lone.triangles.tolist() == [[0, 1, 2]]
    assert len(lone.vertices) == 3
