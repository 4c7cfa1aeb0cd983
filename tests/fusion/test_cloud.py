from dataclasses import replace

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.fusion import (
    FusionRecipe,
    PointCloud,
    estimate_normals,
    fuse_by_consistency,
    merge_in_cells,
    point_spacing,
)


def cloud_of(xyz, rgb=None, **more):
    xyz = np.asarray(xyz, np.float32)
    rgb = np.full(xyz.shape, 7, np.uint8) if rgb is None else np.asarray(rgb, np.uint8)
    return PointCloud(xyz, rgb, np.arange(len(xyz), dtype=np.int32), **more)


def test_points_of_a_cell_become_their_mean():
    cloud = cloud_of([[5, 5, 5], [5.2, 5.4, 5.6], [9.1, 5, 5]], [[0, 10, 255], [10, 20, 253], [1, 2, 3]])
    merged = merge_in_cells(cloud, 1.0)
    np.testing.assert_allclose(merged.cloud.xyz, [[5.1, 5.2, 5.3], [9.1, 5, 5]], rtol=1e-6)
    assert merged.cloud.rgb.tolist() == [[5, 15, 254], [1, 2, 3]]
    assert merged.cell_of_point.tolist() == [0, 0, 1]
    assert merged.weight.tolist() == [2, 1]
    assert merged.cloud.view_id.tolist() == [0, 2]


def test_merging_twice_weighs_each_point_once():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (50, 3)).astype(np.float32)
    first = merge_in_cells(cloud_of(points), 0.3)
    second = merge_in_cells(first.cloud, 5.0, first.weight)
    np.testing.assert_allclose(second.cloud.xyz[0], points.mean(0), rtol=1e-5)
    assert second.weight.tolist() == [50]


def test_merged_normals_are_unit_and_opposite_ones_do_not_vanish():
    normals = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    cloud = replace(cloud_of([[0, 0, 0], [0.1, 0, 0], [5, 0, 0], [5.1, 0, 0]]), normals=normals)
    merged = merge_in_cells(cloud, 1.0).cloud
    np.testing.assert_allclose(merged.normals, [[np.sqrt(0.5), np.sqrt(0.5), 0], [0, 0, 1]], atol=1e-6)


def test_points_too_far_apart_are_named():
    with pytest.raises(UserError, match="too far apart to merge"):
        merge_in_cells(cloud_of([[0, 0, 0], [1e9, 1e9, 1e9]]), 1e-3)


def test_spacing_of_a_grid():
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(7), [0.0], indexing="ij"), -1).reshape(-1, 3) * 0.25
    assert point_spacing(cloud_of(grid)) == pytest.approx(0.25)
    assert point_spacing(cloud_of(grid, spacing=3.0)) == 3.0
    with pytest.raises(UserError, match="fewer than two distinct points"):
        point_spacing(cloud_of([[1, 2, 3], [1, 2, 3]]))


@pytest.mark.parametrize("cloud_voxel", [0.0, 1.0])
def test_normals_are_the_spheres_and_point_to_the_cameras(ring, all_others, cloud_voxel):
    recipe = FusionRecipe(cloud_voxel=cloud_voxel)
    centres = {v.id: -v.world_to_cam[:3, :3].T @ v.world_to_cam[:3, 3] for v in ring}
    cloud = estimate_normals(fuse_by_consistency(ring, all_others(ring), recipe)[0], centres, recipe)
    outwards = cloud.xyz / np.linalg.norm(cloud.xyz, axis=1, keepdims=True)
    cosine = (cloud.normals * outwards).sum(1)
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-5)
    assert (cosine > 0).mean() > 0.999
    assert np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))) < 6


def test_isolated_and_coinciding_points_have_normals_too():
    xyz = np.array([[0, 0, 5], [0, 0, 5], [0, 0, 5], [9, 0, 5], [0, 9, 5]], np.float32)
    cloud = PointCloud(xyz, np.zeros((5, 3), np.uint8), np.zeros(5, np.int32), spacing=0.1)
    normals = estimate_normals(cloud, {0: np.zeros(3)}, FusionRecipe()).normals
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert ((normals * -xyz).sum(1) >= 0).all()


def test_normals_of_a_thin_wall_follow_the_side_it_was_seen_from():
    rng = np.random.default_rng(0)
    sheet = np.concatenate([rng.uniform(-1, 1, (1000, 2)), np.zeros((1000, 1))], 1).astype(np.float32)
    view_id = (np.arange(1000) % 2).astype(np.int32)
    cloud = PointCloud(sheet, np.zeros((1000, 3), np.uint8), view_id, spacing=0.03)
    centres = {0: np.array([0.0, 0, 4]), 1: np.array([0.3, 0, -5])}
    normals = estimate_normals(cloud, centres, FusionRecipe()).normals
    np.testing.assert_allclose(normals[:, 2], np.where(view_id == 0, 1, -1), atol=1e-5)
