import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.errors import UserError
from toolbox.models.cost_volumes import FixedInterval, LevelGeometry, PixelInterval, UniformDepth, UniformInverseDepth
from toolbox.models.cost_volumes.epipolar import depth_per_pixel_shift

SIZE = (6, 8)
INTRINSICS = torch.tensor([[11.0, 0, 3.7], [0, 12.5, 2.4], [0, 0, 1]])


def geometry(*translations: tuple[float, float, float], yaw: float = 0.0, batch: int = 1) -> LevelGeometry:
    """A reference at the origin and a source at minus each translation, all turned by ``yaw`` but the reference."""
    poses = [torch.eye(4)]
    for translation in translations:
        pose = torch.eye(4)
        pose[0, 0] = pose[2, 2] = math.cos(yaw)
        pose[0, 2], pose[2, 0] = math.sin(yaw), -math.sin(yaw)
        pose[:3, 3] = torch.tensor(translation)
        poses.append(pose)
    views = len(poses)
    return LevelGeometry(
        INTRINSICS.expand(batch, views, 3, 3),
        torch.stack(poses).expand(batch, views, 4, 4),
        torch.tensor([[1.0, 9.0]]).expand(batch, 2),
        SIZE,
    )


@pytest.mark.parametrize("sampler", [UniformDepth(12), UniformInverseDepth(12)])
def test_planes_span_the_range(sampler):
    planes = sampler(geometry((0.3, 0, 0)))
    assert planes.shape == (1, 12, *SIZE)
    assert torch.allclose(planes[:, 0], torch.tensor(1.0)) and torch.allclose(planes[:, -1], torch.tensor(9.0))
    steps = (planes if isinstance(sampler, UniformDepth) else 1 / planes)[0, :, 0, 0].diff()
    assert torch.allclose(steps, steps[0].expand_as(steps), atol=1e-5)


def test_each_sample_has_its_own_range():
    """Fails with the published quirk, which gives every sample the first one's range."""
    two = geometry((0.3, 0, 0), batch=2)
    two.depth_range = torch.tensor([[1.0, 9.0], [2.0, 5.0]])
    assert UniformDepth(48)(two)[1, [0, -1], 0, 0].tolist() == [2.0, 5.0]
    assert UniformDepth(48, published_shared_range=True)(two)[1, [0, -1], 0, 0].tolist() == [1.0, 9.0]


def test_odd_numbers_are_refused():
    with pytest.raises(UserError, match="even"):
        UniformDepth(47)


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(1.5, 8.0))
def test_one_interval_shifts_by_one_pixel(x, y, z, yaw, depth):
    """The closed form against projecting the two depths: whole pixels exactly, small steps to first order."""
    if math.hypot(x, y) < 0.05:
        x += 0.2
    level = geometry((x, y, z), yaw=yaw)
    level = LevelGeometry(level.intrinsics.double(), level.world_to_cam.double(), level.depth_range.double(), SIZE)
    depths = torch.full((1, *SIZE), depth, dtype=torch.float64)

    def source_pixels(at: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
        pixels = torch.stack((columns, rows, torch.ones(SIZE)), dim=-1).double()
        points = (pixels @ torch.linalg.inv(level.intrinsics[0, 0]).T) * at[0, ..., None]
        moved = (points @ level.world_to_cam[0, 1, :3, :3].T + level.world_to_cam[0, 1, :3, 3]) @ level.intrinsics[
            0, 1
        ].T
        return moved[..., :2] / moved[..., 2:]

    whole = depth_per_pixel_shift(depths, level, 1, finite_step=True)
    shift = (source_pixels(depths + whole) - source_pixels(depths)).norm(dim=-1)
    torch.testing.assert_close(shift, torch.ones(SIZE, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    small = depth_per_pixel_shift(depths, level, 1) * 1e-4
    shift = (source_pixels(depths + small) - source_pixels(depths)).norm(dim=-1)
    torch.testing.assert_close(shift, torch.full(SIZE, 1e-4, dtype=torch.float64), rtol=1e-2, atol=1e-8)


@pytest.mark.parametrize("statistic", ["median", "mean", "per_pixel"])
@pytest.mark.parametrize("sources", ["all", "widest", "first"])
@pytest.mark.parametrize(
    "translation",
    [(0.3, 0, 0), (0, 0, 0), (0, 0, 0.5), (0, 0.2, 0), (1e-9, 0, 0)],
    ids=["rectified", "no baseline", "forward", "vertical", "hardly any baseline"],
)
def test_finite_and_inside_the_range_for_every_geometry(translation, sources, statistic):
    """The published linear system is singular for the first two."""
    level = geometry(translation, translation)
    sampler = PixelInterval(8, sources=sources, statistic=statistic)
    coarser = torch.linspace(0.5, 9.5, 48).reshape(1, *SIZE)
    hypotheses = sampler(level, coarser)
    assert torch.isfinite(hypotheses).all()
    assert hypotheses.min() >= 1 - 1e-5 and hypotheses.max() <= 9 + 1e-5
    assert (hypotheses.diff(dim=1) > 0).all(), "hypotheses stay distinct at the ends of the range"


def test_wide_source_decides():
    depth = torch.full((1, *SIZE), 1.0)
    near_and_wide = geometry((0.05, 0, 0), (0.5, 0, 0))
    first = PixelInterval(sources="first").interval(near_and_wide, depth)
    widest = PixelInterval(sources="widest").interval(near_and_wide, depth)
    everyone = PixelInterval(sources="all").interval(near_and_wide, depth)
    assert first / widest == pytest.approx(10, rel=1e-4)
    assert widest < everyone < first


def test_fixed_interval():
    coarser = torch.full((1, *SIZE), 4.0, requires_grad=True)
    hypotheses = FixedInterval(4, interval=0.25)(geometry((0.3, 0, 0)), coarser)
    assert hypotheses[0, :, 0, 0].tolist() == [3.5, 3.75, 4.0, 4.25]
    hypotheses.sum().backward()
    assert (coarser.grad == 4).all()
    relative = FixedInterval(4, fraction=1 / 32)(geometry((0.3, 0, 0)), coarser)
    torch.testing.assert_close(relative, hypotheses)
