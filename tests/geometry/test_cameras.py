"""Cameras: projection, intrinsics of resized and cropped images, relative projection."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.geometry import (
    camera_centre,
    crop_intrinsics,
    invert_rigid,
    pixel_grid,
    project,
    relative_projection,
    scale_intrinsics,
    transform_points,
    unproject,
)

focals = st.floats(20, 900)
centres = st.floats(-5, 90)
angles = st.floats(-1.5, 1.5)
shifts = st.floats(-20, 20)


@st.composite
def intrinsics(draw) -> torch.Tensor:
    fx, fy, cx, cy = draw(focals), draw(focals), draw(centres), draw(centres)
    return torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], dtype=torch.float64)


@st.composite
def poses(draw) -> torch.Tensor:
    pose = torch.eye(4, dtype=torch.float64)
    for axis in range(3):
        angle, turn = draw(angles), torch.eye(3, dtype=torch.float64)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        pose[:3, :3] = turn @ pose[:3, :3]
    pose[:3, 3] = torch.tensor([draw(shifts), draw(shifts), draw(shifts)], dtype=torch.float64)
    return pose[None]


@given(intrinsics(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_project_undoes_unproject(k, seed):
    depth = 0.1 + 50 * torch.rand(1, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    points = unproject(depth, k)
    pixels, z = project(points.reshape(1, -1, 3), k)
    torch.testing.assert_close(pixels.reshape(5, 7, 2), pixel_grid(5, 7, depth), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.reshape(1, 5, 7), depth, atol=0, rtol=0)


def test_the_top_left_pixel_is_centred_at_zero():
    k = torch.tensor([[100.0, 0, 3.0], [0, 110.0, 2.0], [0, 0, 1]])[None]
    points = unproject(torch.full((1, 5, 6), 2.0), k)
    torch.testing.assert_close(points[0, 2, 3], torch.tensor([0.0, 0.0, 2.0]))  # row 2, column 3: (cx, cy)
    torch.testing.assert_close(points[0, 0, 0], torch.tensor([-3 / 100 * 2, -2 / 110 * 2, 2.0]))


def test_pixel_grid_is_x_then_y():
    grid = pixel_grid(2, 3, torch.zeros(1, dtype=torch.float64))
    assert grid.shape == (2, 3, 2)
    assert grid.dtype == torch.float64
    assert grid[1, 2].tolist() == [2, 1]


@given(poses())
@settings(max_examples=30, deadline=None)
def test_invert_rigid_and_camera_centre(pose):
    torch.testing.assert_close(invert_rigid(pose) @ pose, torch.eye(4, dtype=torch.float64)[None], atol=1e-10, rtol=0)
    centre = camera_centre(pose)
    torch.testing.assert_close(
        transform_points(pose, centre[:, None]), torch.zeros(1, 1, 3, dtype=torch.float64), atol=1e-10, rtol=0
    )


@given(intrinsics(), st.floats(0.1, 4), st.floats(0.1, 4))
@settings(max_examples=40, deadline=None)
def test_scaled_intrinsics_keep_the_rays(k, scale_x, scale_y):
    """A point of the image, measured from its corner at (-0.5, -0.5), moves to the scaled position."""
    point = torch.tensor([[[0.3, -0.7, 2.0]]], dtype=torch.float64)
    before, _ = project(point, k)
    after, _ = project(point, scale_intrinsics(k, scale_x, scale_y))
    scale = torch.tensor([scale_x, scale_y], dtype=torch.float64)
    torch.testing.assert_close(after, (before + 0.5) * scale - 0.5, atol=1e-9, rtol=1e-9)


def test_scaling_to_a_half_with_and_without_the_half_pixel():
    k = torch.tensor([[500.0, 0, 311.0], [0, 490.0, 243.0], [0, 0, 1]])
    areas = scale_intrinsics(k, 0.5, 0.25)
    assert areas.tolist() == [[250, 0, 155.25], [0, 122.5, 60.375], [0, 0, 1]]
    strided = scale_intrinsics(k, 0.5, 0.25, half_pixel=False)
    assert strided.tolist() == [[250, 0, 155.5], [0, 122.5, 60.75], [0, 0, 1]]
    assert k[0, 2] == 311  # the argument is left as it was


def test_averaging_pixels_is_the_resize_that_half_pixel_describes():
    """A horizontal ramp, averaged 2 x 2: the value of the small image at a ray equals that of the large one."""
    k = torch.tensor([[[60.0, 0, 9.3], [0, 55.0, 6.1], [0, 0, 1]]])
    ramp = pixel_grid(12, 20, k)[..., 0]  # the value is x
    small = torch.nn.functional.avg_pool2d(ramp[None, None], 2)[0, 0]
    point = unproject(torch.ones(1, *small.shape), scale_intrinsics(k, 0.5, 0.5)).reshape(1, -1, 3)
    pixels, _ = project(point, k)
    torch.testing.assert_close(pixels[0, :, 0].reshape(small.shape), small, atol=1e-4, rtol=0)


def test_cropping_moves_the_principal_point():
    k = torch.tensor([[500.0, 0, 311.0], [0, 490.0, 243.0], [0, 0, 1]])
    assert crop_intrinsics(k, left=11, top=3).tolist() == [[500, 0, 300], [0, 490, 240], [0, 0, 1]]


@given(intrinsics(), poses(), intrinsics(), poses())
@settings(max_examples=40, deadline=None)
def test_relative_projection_is_unproject_move_project(ref_k, ref_pose, src_k, src_pose):
    depth = torch.rand(1, 3, 4, dtype=torch.float64) * 5 + 1
    world = transform_points(invert_rigid(ref_pose), unproject(depth, ref_k).reshape(1, -1, 3))
    in_source = transform_points(src_pose, world)
    expected = in_source @ src_k.transpose(-1, -2)

    matrix, offset = relative_projection(ref_k, ref_pose, src_k, src_pose)
    grid = pixel_grid(3, 4, depth).reshape(-1, 2)
    pixels = torch.cat((grid, torch.ones_like(grid[:, :1])), dim=-1)
    found = (pixels @ matrix[0].T) * depth.reshape(-1, 1) + offset[0]
    torch.testing.assert_close(found[None], expected, atol=1e-6, rtol=1e-9)


def test_relative_projection_of_float32_far_from_the_origin_loses_nothing():
    """Two cameras a step apart, 10 km from the origin of the world: in float32 the product would lose centimetres."""
    k = torch.tensor([[[500.0, 0, 311.0], [0, 490.0, 243.0], [0, 0, 1]]])
    pose = torch.eye(4, dtype=torch.float64)[None].clone()
    pose[0, :3, 3] = torch.tensor([8000.25, -6000.5, 30.0])
    moved = pose.clone()
    moved[0, 0, 3] += 0.125
    _, offset = relative_projection(k, pose, k, moved)
    assert offset.dtype == torch.float32
    torch.testing.assert_close(offset, torch.tensor([[62.5, 0.0, 0.0]]))


@pytest.mark.parametrize("depth", [-2.0, 0.0])
def test_projection_stays_finite_at_and_behind_the_camera(depth):
    k = torch.tensor([[[60.0, 0, 9.3], [0, 55.0, 6.1], [0, 0, 1]]])
    pixels, z = project(torch.tensor([[[0.1, 0.2, depth]]]), k)
    assert torch.isfinite(pixels).all()
    assert z.item() == depth
