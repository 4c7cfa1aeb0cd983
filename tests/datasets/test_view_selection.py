"""Source views: from pairs, from points, from cameras."""

from pathlib import Path

import numpy as np
import pytest

from toolbox.datasets.view_selection import ViewSelector, angle_weight, select_sources
from toolbox.errors import UserError
from toolbox.structures import Scene, SparsePoints, View

K = np.array([[600.0, 0, 310.0], [0, 620.0, 235.0], [0, 0, 1]])
SIZE = (480, 640)


def view(view_id: int, centre: tuple[float, float, float], yaw: float = 0.0, depth_range=None) -> View:
    """A camera that looks along +z, turned by ``yaw`` degrees about the vertical."""
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    world_to_cam = np.eye(4)
    world_to_cam[:3, :3] = [[c, 0, -s], [0, 1, 0], [s, 0, c]]
    world_to_cam[:3, 3] = -world_to_cam[:3, :3] @ np.array(centre)
    return View(view_id, Path(f"{view_id}.png"), SIZE, K, world_to_cam, depth_range=depth_range)


def row(spacing: float, count: int = 9, depth_range=None) -> list[View]:
    return [view(10 * k, (spacing * k, 0.0, 0.0), depth_range=depth_range) for k in range(count)]


def test_weight_of_an_angle():
    np.testing.assert_allclose(
        angle_weight(np.array([0.0, 4.0, 5.0, 15.0])), [0.0, np.exp(-0.5), 1.0, np.exp(-0.5)], rtol=1e-12
    )
    np.testing.assert_allclose(angle_weight(np.array([6.4, 8.0, 24.0]), 8.0), [np.exp(-0.5), 1.0, np.exp(-0.5)])


def test_listed_pairs_decide():
    scene = Scene("row", row(0.1, depth_range=(1.0, 2.0)))
    geometric = select_sources(scene, 30, 3)
    scene.pairs = {40: [(80, 9.0), (0, 8.0), (77, 7.0), (40, 6.0)], 30: []}
    assert select_sources(scene, 40, 1) == [80]
    assert select_sources(scene, 40, 4) == [80, 0], "no view is added to those listed"
    assert select_sources(scene, 30, 3) == geometric, "none listed: the cameras tell"
    with pytest.raises(KeyError):
        select_sources(scene, 41, 3)


def brute_force_scores(scene: Scene) -> dict[tuple[int, int], float]:
    """MVSNet's score, a loop over points and pairs."""
    centres = {v.id: v.centre for v in scene.views}
    scores = {(a, b): 0.0 for a in centres for b in centres if a != b}
    for xyz, ids in zip(scene.points.xyz, scene.points.view_ids, strict=True):
        for a in ids:
            for b in ids:
                if a != b:
                    ra, rb = xyz - centres[a], xyz - centres[b]
                    angle = np.degrees(np.arccos(ra @ rb / np.linalg.norm(ra) / np.linalg.norm(rb)))
                    sigma = 1.0 if angle <= 5 else 10.0
                    scores[a, b] += np.exp(-((angle - 5) ** 2) / (2 * sigma**2))
    return scores


def test_points_give_mvsnets_score():
    rng = np.random.default_rng(4)
    views = [view(7 * k + 1, tuple(rng.uniform(-0.5, 0.5, 3))) for k in range(8)]
    xyz = rng.uniform(-1, 1, (60, 3)) + np.array([0, 0, 4])
    seen = [np.array([v.id for v in views if rng.random() < 0.5] or [1]) for _ in xyz]
    scene = Scene("cloud", views, points=SparsePoints(xyz, seen))
    scores = brute_force_scores(scene)
    selector = ViewSelector(scene)
    for v in views:
        expected = sorted((s.id for s in views if s.id != v.id), key=lambda s: -scores[v.id, s])
        assert selector.sources(v.id, 7) == expected


def test_points_of_views_that_are_not_there_are_ignored():
    views = [view(1, (0, 0, 0)), view(2, (0.3, 0, 0)), view(3, (0.6, 0, 0))]
    scene = Scene("s", views, points=SparsePoints(np.array([[0.0, 0, 3]]), [np.array([1, 3, 99])]))
    assert select_sources(scene, 1, 2) == [3], "view 2 shares no point with view 1"


def test_cameras_prefer_a_useful_angle():
    """At depth 2 five degrees are 0.17 apart: neither the next view nor the farthest."""
    selector = ViewSelector(Scene("row", row(0.03, count=21, depth_range=(1.8, 2.2))))
    best = selector.sources(100, 1)[0]
    assert 0.15 <= abs(best - 100) / 10 * 0.03 <= 0.28


@pytest.mark.parametrize("with_points", [False, True])
def test_a_larger_best_angle_takes_wider_baselines(with_points):
    """At depth 2 ten degrees are 0.35 apart, five 0.17."""
    scene = Scene("row", row(0.03, count=31, depth_range=(1.8, 2.2)))
    if with_points:
        xyz = np.random.default_rng(3).uniform((0.2, -0.2, 1.9), (0.7, 0.2, 2.1), (50, 3))
        scene.points = SparsePoints(xyz, [np.array([v.id for v in scene.views])] * 50)
    baseline = {}
    for angle in (5.0, 10.0):
        best = ViewSelector(scene, best_angle=angle).sources(150, 1)[0]
        baseline[angle] = abs(best - 150) / 10 * 0.03
    assert 0.15 <= baseline[5.0] <= 0.28 < 0.30 <= baseline[10.0] <= 0.45
    plain = ViewSelector(scene).sources(150, 4)
    assert ViewSelector(scene, best_angle=5.0, spread=0.0).sources(150, 4) == plain


def test_spread_sources_stand_apart():
    scene = Scene("row", row(0.03, count=31, depth_range=(1.8, 2.2)))
    plain = ViewSelector(scene).sources(150, 30)
    spread = ViewSelector(scene, spread=0.4).sources(150, 30)
    assert spread[0] == plain[0] and sorted(spread) == sorted(plain), "none is lost"
    centre = {v.id: v.centre[0] for v in scene.views}
    taken = spread[:4]
    for n, k in enumerate(taken):
        apart = [abs(centre[k] - centre[other]) for other in taken[:n]]
        assert all(gap >= 0.4 * abs(centre[k] - centre[150]) - 1e-9 for gap in apart)
    skipped = [k for k in plain[: plain.index(taken[3])] if k not in taken]
    for k in skipped:
        apart = [abs(centre[k] - centre[other]) for other in taken if plain.index(other) < plain.index(k)]
        assert min(apart) < 0.4 * abs(centre[k] - centre[150]), "what is passed over is near one taken before"


@pytest.mark.parametrize("option", [{"best_angle": 0.0}, {"spread": 1.0}, {"spread": -0.1}])
def test_senseless_selections_are_refused(option):
    with pytest.raises(UserError):
        ViewSelector(Scene("row", row(0.1)), **option)


def test_given_range_stands_in_for_the_scenes():
    scene = Scene("row", row(0.05, count=41))
    near, far = (abs(ViewSelector(scene, r).sources(200, 1)[0] - 200) for r in ((0.8, 1.2), (3.5, 4.5)))
    assert near < far


def test_views_without_overlap_are_no_sources():
    views = [
        view(0, (0, 0, 0)),
        view(1, (0.2, 0, 0), yaw=180),
        view(2, (0.25, 0, 0), yaw=10),
        view(3, (0.2, 0, 0), yaw=90),
    ]
    assert ViewSelector(Scene("s", views), (1.0, 4.0)).sources(0, 3) == [2]


def test_duplicates_are_no_sources_and_ties_are_settled():
    ring = [
        view(k, (0.3 * np.cos(a), 0.3 * np.sin(a), 0.0)) for k, a in enumerate(np.linspace(0, 2 * np.pi, 7)[:-1], 5)
    ]
    views = [
        view(4, (0.0, 0.0, 0.0)),
        view(3, (0.0, 0.0, 0.0)),
        view(2, (0.0, 0.0, 0.0), yaw=5),
        *ring,
        view(90, (9, 0, 0)),
    ]
    for order in (views, views[::-1]):
        chosen = ViewSelector(Scene("s", order), (2.0, 4.0)).sources(4, 9)
        assert sorted(chosen) == list(range(5, 11)), "those at the reference's own position give no depth"


def test_cameras_alone_without_any_range():
    """An object turned before the camera: the views around it find it, whatever the unit."""
    for scale in (1.0, 250.0):
        views = []
        for k in range(24):
            angle = 15.0 * k
            centre = scale * np.array([-np.sin(np.radians(angle)), 0.0, -np.cos(np.radians(angle))])
            views.append(view(k, tuple(centre), yaw=angle))
        assert set(select_sources(Scene("ring", views), 12, 2)) == {11, 13}


def test_single_view_has_no_sources():
    assert select_sources(Scene("one", [view(0, (0, 0, 0))]), 0, 4) == []
