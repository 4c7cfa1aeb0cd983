import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from toolbox.datasets.fragments import WindowSettings, level_camera, resample_tsdf, seen_surface, window_origin
from toolbox.errors import UserError


@pytest.fixture
def golden(shared) -> dict:
    """Three views, volumes at three levels, and the window that the published program cut out of them."""
    content = torch.load(shared / "golden/msr/transforms.pt", weights_only=True)
    return content | {"world_to_cam": torch.linalg.inv(content["extrinsics"].double())}


def test_published_window(golden):
    settings = WindowSettings(shape=tuple(golden["voxel_dim"].tolist()))
    window = window_origin((60, 80), golden["intrinsics"], golden["world_to_cam"], settings)
    torch.testing.assert_close(window * 0.04, golden["vol_origin_partial"], rtol=0, atol=1e-6)


def test_published_aligned_camera(golden):
    aligned = level_camera(golden["world_to_cam"][1])
    torch.testing.assert_close(aligned.float(), golden["world_to_aligned_camera"], rtol=0, atol=1e-5)


def test_level_cameras_stay_where_they_are():
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.from_euler("xyz", [100, 25, -40], degrees=True).as_matrix())
    pose[:3, 3] = torch.tensor([1.0, -2.0, 3.0])
    levelled = level_camera(pose)
    torch.testing.assert_close(levelled[:3, 2], torch.tensor([0.0, -1, 0], dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(levelled[:3, :3] @ levelled[:3, :3].T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.inv(levelled)[:3, 3], torch.linalg.inv(pose)[:3, 3])
    torch.testing.assert_close(level_camera(levelled), levelled)
    upside_down = torch.eye(4, dtype=torch.float64)
    upside_down[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    with pytest.raises(ValueError, match="upside down"):
        level_camera(upside_down)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_published_crop(golden, level):
    """All but the outermost layer of the volume, which rounding in single precision decides there."""
    voxel, whole = 0.04 * 2**level, golden["tsdf_list_full"][level]
    window, shape = golden["vol_origin_partial"], tuple(golden["tsdf_list"][level].shape)
    crop = resample_tsdf(whole, golden["vol_origin_in"], voxel, window, shape, published_grid=True)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij"), -1)
    index = (index * voxel + window - golden["vol_origin_in"]) / voxel
    inner = ((index - (torch.tensor(whole.shape) - 1)).abs() > 1e-3).all(-1)
    assert inner.float().mean() > 0.8
    torch.testing.assert_close(crop[inner], golden["tsdf_list"][level][inner], rtol=0, atol=2e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_published_occupancy(golden, level):
    expected = golden["occ_list"][level]
    cameras = golden["intrinsics"], golden["world_to_cam"]
    seen = seen_surface(golden["depth"], *cameras, golden["vol_origin_partial"], tuple(expected.shape), 0.04 * 2**level)
    assert torch.equal(seen, expected)


def test_windows_start_on_the_grid_and_hold_what_the_views_see():
    intrinsics = torch.tensor([[500.0, 0, 330], [0, 510, 230], [0, 0, 1]]).expand(4, 3, 3)
    poses = torch.eye(4, dtype=torch.float64).repeat(4, 1, 1)
    poses[:, :3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)  # looks along +y
    poses[:, 0, 3] = -torch.tensor([5.0, 5.2, 5.4, 5.6])
    poses[:, 2, 3] = -7.0
    settings = WindowSettings()
    window = window_origin((480, 640), intrinsics, poses, settings)
    assert (window % 8 == 0).all()
    middle = (window + 48)[:2] * 0.04
    assert (middle - torch.tensor([5.3, 8.5])).abs().max() <= 0.16 + 0.06
    assert window[2] == -8
    centred = window_origin((480, 640), intrinsics, poses, WindowSettings(vertical="views"))
    assert torch.equal(centred[:2], window[:2])
    assert (centred[2] + 48).abs() <= 8
    with pytest.raises(UserError, match="vertical"):
        WindowSettings(vertical="up")


def test_windows_on_the_volume_s_own_grid_are_crops():
    volume = torch.rand(10, 12, 14) * 2 - 1
    origin = torch.tensor([0.32, -0.64, 0.96])
    crop = resample_tsdf(volume, origin, 0.04, origin + 0.04 * torch.tensor([2.0, 3, 4]), (5, 6, 7))
    torch.testing.assert_close(crop, volume[2:7, 3:9, 4:11], rtol=0, atol=1e-4)
    around = resample_tsdf(volume, origin, 0.04, origin - 0.04, (12, 14, 16))
    torch.testing.assert_close(around[1:-1, 1:-1, 1:-1], volume, rtol=0, atol=1e-4)
    border = torch.ones_like(around, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert (around[border] == 1).all()


def test_a_turned_window_sees_the_same_plane():
    """A slanted plane's distance, sampled through a rotation and a move, is the distance at the moved points."""
    normal = torch.tensor([0.6, -0.2, 0.77])
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (40, 44, 48)), indexing="ij"), -1)
    volume = ((index * 0.04 - 0.9) @ normal).clamp(-0.99, 0.99)
    angle = np.radians(33)
    move = torch.eye(4, dtype=torch.float64)
    move[:2, :2] = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    move[:3, 3] = torch.tensor([0.5, 0.3, 0.21])
    window = torch.tensor([0.2, -0.3, 0.1])
    sampled = resample_tsdf(volume, torch.zeros(3), 0.04, window, (20, 21, 22), move)
    points = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (20, 21, 22)), indexing="ij"), -1) * 0.04 + window
    moved = points.double() @ move[:3, :3].T + move[:3, 3]
    inside = ((moved > 0) & (moved < 0.04 * torch.tensor([39, 43, 47]))).all(-1)
    expected = ((moved - 0.9).float() @ normal).clamp(-0.99, 0.99)
    smooth = inside & (expected.abs() < 0.9)
    assert smooth.float().mean() > 0.2
    torch.testing.assert_close(sampled[smooth], expected[smooth], rtol=0, atol=1e-5)
    assert (sampled[~inside] == 1).all()


def test_nothing_is_mixed_across_the_border_of_the_seen():
    """Between a voxel behind the surface (-0.8) and an unseen one (1), the nearer decides."""
    volume = torch.ones(6, 6, 6)
    volume[:3] = -0.8
    shifted = resample_tsdf(volume, torch.zeros(3), 1.0, torch.tensor([0.3, 0.0, 0.0]), (5, 6, 6))
    assert (shifted[3:] == 1).all()
    torch.testing.assert_close(shifted[:2], torch.full((2, 6, 6), -0.8))


def test_a_surface_seen_once_is_not_occupied():
    intrinsics = torch.tensor([[40.0, 0, 25.0], [0, 44.0, 15.0], [0, 0, 1]]).expand(2, 3, 3)
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    depth = torch.full((2, 32, 48), 1.0)
    depth[1, :, :24] = 0
    seen = seen_surface(depth, intrinsics, poses, torch.tensor([-0.4, -0.2, 0.8]), (20, 10, 10), 0.04)
    x = torch.nonzero(seen)[:, 0] * 0.04 - 0.4
    assert seen.sum() > 100
    assert x.min() > (24 - 25 - 0.5) / 40 * 1.12
    near = seen_surface(depth, intrinsics, poses, torch.tensor([-0.4, -0.2, 0.8]), (20, 10, 10), 0.04, max_depth=0.9)
    assert not near.any()
