"""The in-memory tabletop: exact, deterministic, in DTU's range."""

import numpy as np
import pytest
import torch

from toolbox.datasets.synthetic import Tabletop, render_tabletop
from toolbox.datasets.synthetic.sensor import Sensor
from toolbox.geometry import warp_to_reference

PERFECT = Sensor(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def tabletop() -> Tabletop:
    return render_tabletop(seed=3, views=3, size=(96, 128), sensor=PERFECT)


def warped_errors(scene: Tabletop, reference: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """Absolute grey difference of the reference and the source warped by exact depth, and where they see one point."""

    def batch(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values)[None]

    depth = batch(scene.depths[reference])[None]
    cameras = [batch(m[k]) for k in (reference, source) for m in (scene.intrinsics, scene.world_to_cam)]
    images = torch.from_numpy(scene.images).permute(0, 3, 1, 2).float() / 255
    stacked = torch.cat((images[source], torch.from_numpy(scene.depths[source])[None]))[None]
    warped, valid = warp_to_reference(stacked, depth, *cameras)
    grey, seen_depth = warped[0, :3, 0].mean(dim=0), warped[0, 3, 0]
    # The depth that the source should see there.
    relative = cameras[3][0] @ torch.linalg.inv(cameras[1][0])
    y, x = torch.meshgrid(torch.arange(depth.shape[2]), torch.arange(depth.shape[3]), indexing="ij")
    rays = torch.linalg.inv(cameras[0][0]) @ torch.stack((x, y, torch.ones_like(x))).reshape(3, -1).double()
    points = relative[:3, :3] @ (rays * depth.reshape(1, -1)) + relative[:3, 3:]
    expected = points[2].reshape(depth.shape[2:])
    same = valid[0, 0] & (depth[0, 0] > 0) & ((seen_depth - expected).abs() < 0.5)
    return (grey - images[reference].mean(dim=0)).abs().numpy(), same.numpy()


def test_shapes_and_ranges(tabletop):
    assert tabletop.images.shape == (3, 96, 128, 3)
    assert tabletop.depths.shape == (3, 96, 128)
    known = tabletop.depths[tabletop.depths > 0]
    assert 0.5 < known.size / tabletop.depths.size <= 1
    assert known.min() > 425
    assert known.max() < 935
    assert tabletop.intrinsics[0, 0, 0] != tabletop.intrinsics[0, 1, 1]
    assert abs(tabletop.intrinsics[0, 0, 2] - 63.5) > 0.5


def test_warping_by_exact_depth_gives_the_reference(tabletop):
    error, same = warped_errors(tabletop, 0, 1)
    assert same.sum() > 0.6 * (tabletop.depths[0] > 0).sum()
    assert np.median(error[same]) < 0.01
    # Depth that is 3 % off matches visibly worse: the texture tells.
    wrong = tabletop._replace(depths=tabletop.depths * np.float32(1.03))
    worse, _ = warped_errors(wrong, 0, 1)
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
