"""Depth range of a view: given, the source's, from points, or an error that says what to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolbox.datasets.depth_ranges import depth_range_for
from toolbox.errors import UserError
from toolbox.structures import Scene, SparsePoints, View

K = np.array([[600.0, 0, 310.0], [0, 620.0, 235.0], [0, 0, 1]])
VIEW = View(4, Path("4.png"), (480, 640), K, np.eye(4), name="four")


def scene_with_points(depths: np.ndarray, ids: list[int]) -> Scene:
    xyz = np.stack((0.1 * depths, -0.1 * depths, depths), axis=1)
    return Scene("s", [VIEW], points=SparsePoints(xyz, [np.array(ids)] * len(xyz)))


def test_given_goes_before_the_views_own():
    scene = Scene("s", [replace(VIEW, depth_range=(2.0, 5.0))])
    assert depth_range_for(scene, 4) == (2.0, 5.0)
    assert depth_range_for(scene, 4, (1.0, 3.0)) == (1.0, 3.0)


def test_points_without_their_outliers():
    depths = np.concatenate((np.linspace(2.0, 4.0, 1000), [0.01, 900.0, -5.0]))
    near, far = depth_range_for(scene_with_points(depths, [4]), 4)
    assert near == pytest.approx(0.8 * 2.0, rel=0.02) and far == pytest.approx(1.25 * 4.0, rel=0.02)


def test_points_in_the_image_stand_in_for_observed_ones():
    inside = scene_with_points(np.linspace(2.0, 4.0, 100), [99])
    near, far = depth_range_for(inside, 4)
    assert near < 2.0 and far > 4.0
    outside = Scene("s", [VIEW], points=SparsePoints(inside.points.xyz + np.array([9.0, 0, 0]), inside.points.view_ids))
    with pytest.raises(UserError, match="0 sparse points"):
        depth_range_for(outside, 4)


@pytest.mark.parametrize("bad", [(3.0, 3.0), (4.0, 2.0), (0.0, 2.0), (-1.0, 2.0), (1.0, np.inf), (np.nan, 2.0)])
def test_impossible_ranges(bad):
    with pytest.raises(UserError, match="0 < near < far"):
        depth_range_for(Scene("s", [VIEW]), 4, bad)
    with pytest.raises(UserError, match=r"view 4 \('four'\) of scene 's'.*0 < near < far"):
        depth_range_for(Scene("s", [replace(VIEW, depth_range=bad)]), 4)


def test_nothing_tells_the_range():
    with pytest.raises(UserError, match=r"has no depth range, and 0 sparse points.*Give a depth range"):
        depth_range_for(Scene("s", [VIEW]), 4)
    with pytest.raises(KeyError):
        depth_range_for(Scene("s", [VIEW]), 5)
