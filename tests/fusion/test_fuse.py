from dataclasses import replace

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.fusion import FusionRecipe, filter_by_consistency, fuse_by_consistency, fuse_by_disparity, poisson_mesh

EVERY_POINT = FusionRecipe(cloud_voxel=0.0, max_reprojection_px=0.5)
FUSIONS = [fuse_by_consistency, fuse_by_disparity]


@pytest.mark.parametrize("fuse", FUSIONS)
def test_points_lie_on_the_surface_with_its_colour(ring, sphere_radius, all_others, fuse):
    cloud, counts = fuse(ring, all_others(ring), EVERY_POINT)
    radius = np.linalg.norm(cloud.xyz, axis=1)
    assert len(cloud) == sum(c.consistent for c in counts) > 0.5 * sum(c.known for c in counts)
    assert np.quantile(np.abs(radius - sphere_radius), 0.99) < 0.004
    expected = 127.5 + 100 * np.sin(3 * cloud.xyz)
    assert np.median(np.abs(cloud.rgb - expected)) < 3
    # Each point was seen by the camera that it is filed under.
    assert set(cloud.view_id.tolist()) == {v.id for v in ring}
    centres = {v.id: -v.world_to_cam[:3, :3].T @ v.world_to_cam[:3, 3] for v in ring}
    towards = np.stack([centres[i] for i in cloud.view_id.tolist()]) - cloud.xyz
    assert ((towards * cloud.xyz).sum(1) > 0).mean() > 0.999


def test_footprint_is_the_spacing(ring, all_others):
    cloud, _ = fuse_by_consistency(ring, all_others(ring), EVERY_POINT)
    depth = np.concatenate([v.depth()[v.depth() > 0] for v in ring])
    assert cloud.spacing == pytest.approx(np.median(depth) / np.sqrt(112 * 108), rel=0.05)


def test_filtered_depth_maps_are_handed_out(front, all_others):
    saved, progress = {}, []
    cloud, counts = fuse_by_consistency(
        front, all_others(front), EVERY_POINT, lambda *p: progress.append(p), saved.__setitem__
    )
    assert progress == [(i, 5) for i in range(1, 6)]
    assert [c.view_id for c in counts] == list(saved) == [v.id for v in front]
    assert sum((depth > 0).sum() for depth in saved.values()) == len(cloud)
    for view in front:
        kept = saved[view.id] > 0
        assert kept.mean() > 0.4
        np.testing.assert_allclose(saved[view.id][kept], view.depth()[kept], rtol=0.005)
        assert np.median(np.abs(saved[view.id][kept] / view.depth()[kept] - 1)) < 1e-4


@pytest.mark.parametrize("fuse", FUSIONS)
def test_every_map_is_read_once(front, all_others, fuse):
    read = []

    def depth(view):
        read.append(view.id)
        return view.depth()

    fuse([replace(v, depth=lambda v=v: depth(v)) for v in front], all_others(front), EVERY_POINT)
    assert sorted(read) == sorted(v.id for v in front)


def test_averaging_lowers_the_noise(front, all_others):
    rng = np.random.default_rng(1)
    noise = {v.id: rng.normal(1, 1e-3, v.depth().shape).astype(np.float32) for v in front}
    noisy = [replace(v, depth=lambda v=v: v.depth() * noise[v.id]) for v in front]
    for filtered in filter_by_consistency(noisy, all_others(front), EVERY_POINT):
        kept = filtered.depth > 0
        exact = next(v for v in front if v.id == filtered.view.id).depth()
        error = np.abs(filtered.depth[kept] / exact[kept] - 1)
        assert kept.mean() > 0.4
        assert np.median(error) < 0.75 * np.median(np.abs(noise[filtered.view.id][kept] - 1))


@pytest.mark.parametrize("fuse", FUSIONS)
def test_confidence_is_counted_and_filters(front, all_others, fuse):
    confidence = np.tile(np.linspace(0, 1, front[0].depth().shape[1], dtype=np.float32), (front[0].depth().shape[0], 1))
    views = [replace(v, confidence=lambda: confidence) for v in front]
    cloud, counts = fuse(views, all_others(front), replace(EVERY_POINT, min_confidence=0.6, min_views=1))
    for view, count in zip(views, counts, strict=True):
        assert count.pixels == confidence.size
        assert count.known == (view.depth() > 0).sum()
        assert count.confident == ((view.depth() > 0) & (confidence > 0.6)).sum()
        assert 0 < count.consistent < count.confident
    assert list(cloud.counts) == [
        "pixels",
        "known depth",
        "confidence > 0.6",
        "consistent in >= 1 source views",
        "points after merging",
    ]


def test_merging_bounds_the_number_of_points(ring, sphere_radius, all_others):
    every, _ = fuse_by_consistency(ring, all_others(ring), EVERY_POINT)
    bounded, _ = fuse_by_consistency(ring, all_others(ring), replace(EVERY_POINT, max_points=3000))
    merged, _ = fuse_by_consistency(ring, all_others(ring), replace(EVERY_POINT, cloud_voxel=2.0))
    assert len(every) > 10_000
    assert 1000 < len(bounded) <= 3000
    assert len(merged) < 0.3 * len(every)
    assert merged.spacing == pytest.approx(2 * every.spacing)
    for cloud in (bounded, merged):
        assert np.abs(np.linalg.norm(cloud.xyz, axis=1) - sphere_radius).max() < 0.02
        assert cloud.counts["points after merging"] == len(cloud)


@pytest.mark.parametrize("fuse", FUSIONS)
def test_views_of_several_sizes(front, all_others, fuse):
    crop = (slice(0, 50), slice(0, 70))  # the same camera: the top left corner stays
    small = replace(front[0], depth=lambda: front[0].depth()[crop], image=lambda: front[0].image()[crop])
    cloud, counts = fuse([small, *front[1:]], all_others(front), EVERY_POINT)
    assert counts[0].pixels == 3500
    assert all(c.consistent > 0.3 * c.pixels for c in counts)
    assert len(cloud) == sum(c.consistent for c in counts)


@pytest.mark.parametrize("fuse", FUSIONS)
def test_bad_sources_are_named(front, all_others, fuse):
    with pytest.raises(UserError, match=r"sources of view 0.*\[77\]"):
        fuse(front, {0: [1, 77]}, EVERY_POINT)
    with pytest.raises(UserError, match=r"min_views=3.*no view has more than 1 sources"):
        fuse(front, {0: [1]}, EVERY_POINT)
    with pytest.raises(UserError, match="are none, or share an id"):
        fuse([], {}, EVERY_POINT)
    with pytest.raises(UserError, match="share an id"):
        fuse([front[0], front[0]], {0: [0]}, EVERY_POINT)


def test_view_without_sources_gives_nothing_and_is_counted(front, all_others):
    sources = all_others(front) | {0: []}
    _, counts = fuse_by_consistency(front, sources, EVERY_POINT)
    assert [c.consistent > 0 for c in counts] == [False, True, True, True, True]


def test_maps_of_different_sizes_are_refused(front, all_others):
    views = [replace(front[0], confidence=lambda: np.ones((3, 4), np.float32)), *front[1:]]
    with pytest.raises(UserError, match="confidence map of view 0: is 4 x 3 where its depth map is 88 x 64"):
        fuse_by_consistency(views, all_others(front), EVERY_POINT)


@pytest.mark.parametrize("fuse", FUSIONS)
@pytest.mark.parametrize(
    "spoil, culprit",
    [
        ({"depth": lambda: np.zeros((64, 88), np.float32)}, "known depth"),
        ({"depth": lambda: np.full((64, 88), np.nan, np.float32)}, "known depth"),
        ({"confidence": lambda: np.full((64, 88), 0.3, np.float32)}, "confidence > 0.5"),
        ({"depth": lambda: np.random.default_rng(0).uniform(1, 9, (64, 88))}, "consistent in >= 4 source views"),
    ],
)
def test_empty_cloud_tells_which_filter_left_nothing(front, all_others, fuse, spoil, culprit):
    views = [replace(v, **spoil) for v in front]
    recipe = replace(EVERY_POINT, min_views=4, max_reprojection_px=0.01, disparity_threshold=0.01)
    cloud, _ = fuse(views, all_others(front), recipe)
    assert len(cloud) == 0
    with pytest.raises(UserError, match=f"nothing passed '{culprit}'.*pixels: 28160"):
        poisson_mesh(cloud, recipe)
