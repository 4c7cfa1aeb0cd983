"""Pairs of views: by distance, and around the seam between fragments."""

import pytest

from toolbox.errors import UserError
from toolbox.models.losses.volumetric import ViewPairs


def test_pairs_of_one_fragment_are_neighbours_in_both_directions():
    pairs = ViewPairs(max_distance=2).select(views=4).tolist()
    assert pairs == [[0, 1], [0, 2], [1, 0], [1, 2], [1, 3], [2, 0], [2, 1], [2, 3], [3, 1], [3, 2]]


def test_pairs_with_a_memory_lie_around_the_seam():
    pairs = ViewPairs(seam_views=2, seam_distance=3).select(views=9, previous=9).tolist()
    assert pairs == [[i, j] for i in (7, 8, 9, 10) for j in (7, 8, 9, 10) if i != j]
    wider = ViewPairs(seam_views=3, seam_distance=4).select(views=9, previous=9).tolist()
    assert wider == [[i, j] for i in range(6, 12) for j in range(6, 12) if 0 < abs(i - j) <= 4]


def test_limits_can_be_lifted():
    assert len(ViewPairs(max_distance=None).select(views=5)) == 20
    assert len(ViewPairs(seam_views=None, seam_distance=None).select(views=3, previous=2)) == 20


def test_one_view_has_no_pair():
    assert ViewPairs().select(views=1).shape == (0, 2)


def test_a_limit_that_leaves_nothing_is_named():
    with pytest.raises(UserError, match=r"pairs=dict\(seam_views=0\)"):
        ViewPairs(seam_views=0)
