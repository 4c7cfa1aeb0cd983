"""Warping: exact depth gives the reference back; invalid samples are known and harmless to gradients."""

import pytest
import torch

from toolbox.geometry import sample_at_pixels, warp_to_reference


def cameras(reference, source):
    return reference.intrinsics, reference.world_to_cam, source.intrinsics, source.world_to_cam


def test_exact_depth_reproduces_the_reference(plane, reference, source):
    image, depth = plane.render(reference)
    other, _ = plane.render(source)
    warped, valid = warp_to_reference(other, depth, *cameras(reference, source))
    error = (warped[:, :, 0] - image).abs()[valid]
    assert valid.float().mean() > 0.6
    assert error.max() < 3e-3  # of bilinear interpolation
    assert error.mean() < 1e-3


def test_the_published_sampling_is_half_a_pixel_off(plane, reference, source):
    image, depth = plane.render(reference)
    other, _ = plane.render(source)
    exact, valid = warp_to_reference(other, depth, *cameras(reference, source))
    quirk, _ = warp_to_reference(other, depth, *cameras(reference, source), align_corners=False)
    errors = [(warped[:, :, 0] - image).abs()[valid].mean() for warped in (exact, quirk)]
    assert errors[1] > 10 * errors[0]
    assert errors[1] > 5e-3


def test_wrong_depth_does_not_reproduce_the_reference(plane, reference, source):
    image, depth = plane.render(reference)
    other, _ = plane.render(source)
    warped, valid = warp_to_reference(other, 1.2 * depth, *cameras(reference, source))
    assert (warped[:, :, 0] - image).abs()[valid].mean() > 0.02


def test_every_hypothesis_is_warped_by_itself(plane, reference, source):
    other, _ = plane.render(source)
    _, depth = plane.render(reference)
    together, valid = warp_to_reference(
        other, torch.cat((0.9 * depth, depth, 1.3 * depth), dim=1), *cameras(reference, source)
    )
    for k, factor in enumerate((0.9, 1.0, 1.3)):
        alone, alone_valid = warp_to_reference(other, factor * depth, *cameras(reference, source))
        torch.testing.assert_close(together[:, :, k : k + 1], alone)
        assert torch.equal(valid[:, k : k + 1], alone_valid)


def test_samples_of_a_batch_are_warped_by_their_own_cameras(plane, reference, source):
    other, _ = plane.render(source)
    _, depth = plane.render(reference)
    one, one_valid = warp_to_reference(other, depth, *cameras(reference, source))
    two, two_valid = warp_to_reference(other, depth, *cameras(reference, reference))
    both, both_valid = warp_to_reference(
        other.expand(2, -1, -1, -1),
        depth.expand(2, -1, -1, -1),
        reference.intrinsics.expand(2, -1, -1),
        reference.world_to_cam.expand(2, -1, -1),
        torch.cat((source.intrinsics, reference.intrinsics)),
        torch.cat((source.world_to_cam, reference.world_to_cam)),
    )
    torch.testing.assert_close(both, torch.cat((one, two)))
    assert torch.equal(both_valid, torch.cat((one_valid, two_valid)))


def test_the_same_camera_warps_to_itself_and_is_valid_to_the_border(reference):
    image = torch.rand(1, 3, *reference.size)
    depth = torch.rand(1, 2, *reference.size) + 1
    pose = (reference.intrinsics.float(), reference.world_to_cam.float()) * 2
    warped, valid = warp_to_reference(image, depth, *pose)
    torch.testing.assert_close(warped, image[:, :, None].expand_as(warped), atol=2e-5, rtol=0)
    assert valid.all()


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_points_behind_the_source_are_invalid_and_gradients_finite(plane, reference, source, padding):
    """The source stands 2 in front of the reference: depth 1 lies behind it, 2 on its plane, 3 before it."""
    step = source.world_to_cam.clone()
    step[0] = torch.eye(4, dtype=torch.float64)
    step[0, 2, 3] = -2
    image = torch.rand(1, 1, *source.size, dtype=torch.float64, requires_grad=True)
    depth = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).reshape(1, 3, 1, 1).repeat(1, 1, *reference.size)
    depth.requires_grad_()
    warped, valid = warp_to_reference(
        image, depth, reference.intrinsics, reference.world_to_cam, source.intrinsics, step, padding=padding
    )
    assert not valid[:, :2].any()
    assert valid[:, 2].any()
    assert torch.isfinite(warped).all()
    if padding == "zeros":
        assert (warped[:, :, :2] == 0).all()
    warped.sum().backward()
    assert torch.isfinite(depth.grad).all()
    assert torch.isfinite(image.grad).all()
    assert (depth.grad[:, :2] == 0).all()
    assert depth.grad[:, 2].abs().max() > 0


def test_points_behind_are_sampled_on_request(reference, source):
    step = source.world_to_cam.clone()
    step[0] = torch.eye(4, dtype=torch.float64)
    step[0, 2, 3] = -2
    image = torch.rand(1, 1, *source.size, dtype=torch.float64) + 1
    depth = torch.full((1, 1, *reference.size), 1.0, dtype=torch.float64)
    warped, valid = warp_to_reference(
        image, depth, reference.intrinsics, reference.world_to_cam, source.intrinsics, step, keep_behind=True
    )
    assert not valid.any()
    assert (warped > 0).any()


def test_gradients_are_those_of_finite_differences(reference, source):
    size = (5, 6)
    scale = torch.diag(torch.tensor([0.1, 0.12, 1.0], dtype=torch.float64))
    ref_k, src_k = scale @ reference.intrinsics, scale @ source.intrinsics
    image = torch.rand(1, 2, *size, dtype=torch.float64, requires_grad=True)
    depth = (torch.rand(1, 2, 4, 5, dtype=torch.float64) + 2).requires_grad_()

    def warp(image, depth):
        return warp_to_reference(image, depth, ref_k, reference.world_to_cam, src_k, source.world_to_cam)[0]

    assert warp(image, depth).abs().sum() > 0
    assert torch.autograd.gradcheck(warp, (image, depth))


def test_sampling_is_at_the_pixel_positions():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)  # value = x + 4 y
    xy = torch.tensor([[[[0.0, 0.0], [3.0, 2.0], [1.25, 0.5], [-1.0, 0.0]]]])
    torch.testing.assert_close(sample_at_pixels(image, xy)[0, 0, 0], torch.tensor([0.0, 11.0, 3.25, 0.0]))
    assert sample_at_pixels(image, xy, padding="border")[0, 0, 0, 3] == 0
    assert sample_at_pixels(image, torch.tensor([[[[1.4, 1.6]]]]), mode="nearest").item() == 9


def test_unaligned_sampling_is_at_x_w_over_w_minus_1_minus_half():
    image = torch.arange(4.0).expand(3, 4)[None, None].contiguous()  # value = x
    xy = torch.tensor([[[[1.2, 1.0]]]])
    torch.testing.assert_close(
        sample_at_pixels(image, xy, align_corners=False).flatten(), torch.tensor([1.2 * 4 / 3 - 0.5])
    )
