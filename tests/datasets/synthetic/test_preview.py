"""The in-memory tabletop: exact, deterministic, in DTU's range."""

import numpy as np
import pytest

from toolbox.datasets.synthetic import Tabletop, render_tabletop
from toolbox.datasets.synthetic.sensor import Sensor


@pytest.fixture(scope="module")
def tabletop() -> Tabletop:
    return render_tabletop(seed=3, views=3, size=(96, 128), sensor=Sensor(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))


def test_shapes_and_ranges(tabletop):
    assert tabletop.images.shape == (3, 96, 128, 3)
    assert tabletop.depths.shape == (3, 96, 128)
    known = tabletop.depths[tabletop.depths > 0]
    assert 0.5 < known.size / tabletop.depths.size <= 1
    assert known.min() > 425
    assert known.max() < 935
    assert tabletop.intrinsics[0, 0, 0] != tabletop.intrinsics[0, 1, 1]
    assert abs(tabletop.intrinsics[0, 0, 2] - 63.5) > 0.5


def test_warping_by_exact_depth_gives_the_reference(tabletop, warp_error):
    views = list(zip(*tabletop, strict=True))
    error, same = warp_error(views[0], views[1])
    assert same.sum() > 0.6 * (tabletop.depths[0] > 0).sum()
    assert np.median(error[same]) < 0.01
    # Depth that is 3 % off matches visibly worse: the texture tells.
    worse, _ = warp_error(views[0], views[1], scale=1.03)
    assert worse[same].mean() > 2 * error[same].mean()


def test_same_seed_same_bytes():
    first, again, other = (render_tabletop(seed, views=1, size=(40, 56)) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("seed", range(10, 16))
def test_depth_stays_in_the_range_of_dtu(seed):
    depths = render_tabletop(seed, views=6, size=(36, 48)).depths
    assert depths[depths > 0].min() > 425
    assert depths.max() < 935
