from dataclasses import replace

import numpy as np
import pytest

from toolbox.fusion import FusionRecipe, fuse_by_disparity


def slow_fusion(views, sources, recipe):
    """The fusion's definition, pixel by pixel in float64."""
    depths = {v.id: v.read_depth().double().numpy() for v in views}
    images = {v.id: v.image().astype(np.float64) for v in views}
    by_id = {v.id: v for v in views}
    xyz, rgb = [], []
    for view in views:
        centre = -view.world_to_cam[:3, :3].T @ view.world_to_cam[:3, 3]
        for y, x in np.argwhere(depths[view.id] > 0):
            point = (
                centre
                + view.world_to_cam[:3, :3].T @ np.linalg.inv(view.intrinsics) @ [x, y, 1] * depths[view.id][y, x]
            )
            points, colours = [point], [images[view.id][y, x]]
            for i in sources[view.id][: recipe.num_sources]:
                agreed = agreeing_point(by_id[i], depths[i], view.intrinsics[0, 0], centre, point, recipe)
                if agreed is not None:
                    points.append(agreed[0])
                    colours.append(images[i][agreed[1]])
            if len(points) > recipe.min_views:
                xyz.append(np.mean(points, axis=0))
                rgb.append(np.mean(colours, axis=0))
    return np.array(xyz), np.array(rgb)


def agreeing_point(source, depth, focal, ref_centre, point, recipe):
    rotation, translation = source.world_to_cam[:3, :3], source.world_to_cam[:3, 3]
    centre = -rotation.T @ translation
    camera = rotation @ point + translation
    if camera[2] <= 0:
        return None
    u, v = (source.intrinsics @ camera)[:2] / camera[2]
    height, width = depth.shape
    if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
        return None
    u0, v0 = min(int(u), width - 2), min(int(v), height - 2)
    a, b = u - u0, v - v0
    top = (1 - a) * depth[v0, u0] + a * depth[v0, u0 + 1]
    bottom = (1 - a) * depth[v0 + 1, u0] + a * depth[v0 + 1, u0 + 1]
    seen = (1 - b) * top + b * bottom
    if seen <= 0:
        return None
    disparity = focal * np.linalg.norm(centre - ref_centre) * abs(1 / camera[2] - 1 / seen)
    if disparity >= recipe.disparity_threshold:
        return None
    own = (int(u), int(v)) if recipe.disparity_pixel == "floor" else (u, v)
    pixel = (int(own[1]), int(own[0])) if recipe.disparity_pixel == "floor" else (int(v + 0.5), int(u + 0.5))
    return centre + rotation.T @ np.linalg.inv(source.intrinsics) @ [*own, 1] * seen, pixel


@pytest.mark.parametrize("pixel", ["floor", "exact"])
def test_fusion_is_the_slow_definition(front, all_others, pixel):
    recipe = FusionRecipe(
        method="disparity", disparity_threshold=0.15, disparity_pixel=pixel, min_views=2, num_sources=3, cloud_voxel=0.0
    )
    sources = all_others(front)
    rng = np.random.default_rng(0)
    noise = {v.id: rng.normal(1, 1e-3, v.depth().shape).astype(np.float32) for v in front}
    views = [replace(v, depth=lambda v=v: v.depth() * noise[v.id]) for v in front[:4]]
    sources = {v.id: [i for i in sources[v.id] if i < 4] for v in views}
    cloud, counts = fuse_by_disparity(views, sources, recipe)
    xyz, rgb = slow_fusion(views, sources, recipe)
    assert sum(c.consistent for c in counts) == len(cloud)
    # A pixel on the edge of the threshold may go either way in float32.
    assert abs(len(cloud) - len(xyz)) <= 3
    assert 0.3 < len(xyz) / sum(c.known for c in counts) < 0.95
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(xyz).query(cloud.xyz)
    assert np.quantile(distance, 0.999) < 1e-5
    same = distance < 1e-5
    assert np.quantile(np.abs(cloud.rgb[same] - rgb[nearest[same]]).max(1), 0.999) <= 0.51


def test_published_pixel_shifts_slanted_surfaces_and_the_exact_one_does_not(front, all_others):
    normal, offset = np.array([0.1, -0.2, 1.0]), 1.9
    error = {}
    for pixel in ("floor", "exact"):
        recipe = FusionRecipe(method="disparity", disparity_pixel=pixel, min_views=3, cloud_voxel=0.0)
        cloud, _ = fuse_by_disparity(front, all_others(front), recipe)
        signed = (cloud.xyz @ normal - offset) / np.linalg.norm(normal)
        error[pixel] = abs(np.median(signed[np.abs(signed) < 0.1]))
    assert error["exact"] < 2e-5
    assert error["floor"] > 20 * error["exact"]


def test_sources_take_part_with_their_confident_pixels_only(front, all_others):
    recipe = FusionRecipe(method="disparity", min_confidence=0.5, min_views=4, num_sources=4, cloud_voxel=0.0)
    sources = all_others(front)
    all_confident, _ = fuse_by_disparity(front, sources, recipe)
    doubtful = np.ones(front[4].depth().shape, np.float32) * 0.4
    views = [*front[:4], replace(front[4], confidence=lambda: doubtful)]
    without, counts = fuse_by_disparity(views, sources, recipe)
    assert len(all_confident) > 500
    assert len(without) == 0
    assert [c.confident > 0 for c in counts] == [True] * 4 + [False]
