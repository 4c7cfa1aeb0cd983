from dataclasses import replace

import numpy as np
import pytest
import trimesh

from toolbox.errors import UserError
from toolbox.fusion import FusionRecipe, fuse_tsdf

RECIPE = FusionRecipe(method="tsdf", tsdf_voxel=0.04)


def test_sphere_is_recovered_with_its_colours(ring, sphere_radius, all_others):
    mesh = fuse_tsdf(ring, all_others(ring), RECIPE)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert abs(radius.mean() - sphere_radius) < 0.1 * RECIPE.tsdf_voxel
    assert np.quantile(np.abs(radius - sphere_radius), 0.99) < 0.015
    assert np.median(np.abs(mesh.rgb - (127.5 + 100 * np.sin(3 * mesh.vertices)))) < 5
    solid = trimesh.Trimesh(mesh.vertices, mesh.triangles)
    assert (solid.face_normals * solid.triangles_center).sum(1).mean() > 0.9 * sphere_radius


def test_slanted_plane_is_not_shifted(front, all_others):
    """Sampling depth at the wrong half pixel moves a slanted plane along its normal."""
    mesh = fuse_tsdf(front, all_others(front), RECIPE)
    normal = np.array([0.1, -0.2, 1.0])
    signed = (mesh.vertices @ normal - 1.9) / np.linalg.norm(normal)
    on_plane = np.abs(signed) < 0.1
    assert on_plane.sum() > 500
    assert abs(signed[on_plane].mean()) < 0.001


def test_voxel_follows_the_footprint(front, all_others):
    sizes = {}
    for scale in (1.0, 100.0):
        views = []
        for view in front:
            world_to_cam = view.world_to_cam.copy()
            world_to_cam[:3, 3] *= scale
            views.append(
                replace(view, world_to_cam=world_to_cam, depth=lambda v=view, s=scale: v.depth() * np.float32(s))
            )
        sizes[scale] = len(fuse_tsdf(views, all_others(views), FusionRecipe(method="tsdf")).vertices)
    assert sizes[1.0] > 1000
    assert sizes[100.0] == pytest.approx(sizes[1.0], rel=0.05)


def test_progress_and_empty_input(front, all_others):
    progress = []
    fuse_tsdf(front, all_others(front), RECIPE, lambda *p: progress.append(p))
    assert progress == [(i, 5) for i in range(1, 6)]
    blind = [replace(v, depth=lambda: np.zeros((64, 88), np.float32)) for v in front]
    with pytest.raises(UserError, match="is empty: 0 pixels passed the filters of 5 views"):
        fuse_tsdf(blind, all_others(front), RECIPE)
    with pytest.raises(UserError, match=r"hold no depth with confidence > 0\.5"):
        fuse_tsdf(blind, all_others(front), replace(RECIPE, tsdf_voxel=None))
    with pytest.raises(UserError, match=r"no voxel of 0\.04 got 99 observations"):
        fuse_tsdf(front, all_others(front), replace(RECIPE, tsdf_min_weight=99.0))
