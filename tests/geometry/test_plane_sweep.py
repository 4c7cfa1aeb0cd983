import pytest
import torch

from toolbox.geometry import PlaneSweep, warp_to_reference

SOURCE = torch.randn(2, 3, 21, 26, generator=torch.Generator().manual_seed(0))


def cameras() -> tuple[torch.Tensor, ...]:
    """Reference's and source's intrinsics and poses; the source is turned, and shifted towards the scene."""
    ref_k = torch.tensor([[30.0, 0, 12.0], [0, 33.0, 8.0], [0, 0, 1]]).repeat(2, 1, 1)
    src_k = torch.tensor([[28.0, 0, 11.0], [0, 29.0, 12.0], [0, 0, 1]]).repeat(2, 1, 1)
    ref_pose = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    src_pose = ref_pose.clone()
    src_pose[:, 0, 0], src_pose[:, 0, 2], src_pose[:, 2, 0], src_pose[:, 2, 2] = 0.96, 0.28, -0.28, 0.96
    src_pose[:, :3, 3] = torch.tensor([[-0.3, 0.1, -1.0], [0.2, -0.2, -1.4]])
    return ref_k, ref_pose, src_k, src_pose


DEPTH = torch.rand(2, 4, 17, 24, generator=torch.Generator().manual_seed(1)) * 3 + 0.5


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("keep_behind", [True, False])
@pytest.mark.parametrize("gathers", [True, False])
def test_samples_as_a_warp_of_the_whole_does(align_corners, keep_behind, gathers):
    """In rectangles, by gathering and by interpolating; points behind the camera and outside the source, too."""
    options = {"align_corners": align_corners, "keep_behind": keep_behind}
    expected, seen = warp_to_reference(SOURCE, DEPTH, *cameras(), **options)
    assert 0.1 < seen.float().mean() < 0.9
    source = SOURCE if gathers else SOURCE.clone().requires_grad_()
    sweep = PlaneSweep(source, *cameras(), **options)
    features, valid = sweep(DEPTH[:, :, 5:14, 3:20], (5, 3))
    assert (sweep.table is not None) == gathers == (sweep.source is None)
    at = (..., slice(5, 14), slice(3, 20))
    # Far outside, where a denominator is nearly 0, rounding moves points over the border.
    differs = (features - expected[at]).abs().amax(dim=1) > 2e-4
    assert differs.float().mean() < 2e-3 and (valid != seen[at]).float().mean() < 2e-3
    assert sweep(DEPTH, with_valid=False)[1] is None


def test_corners_and_what_lies_beyond_them():
    """A source in the reference's place: pixels sample themselves, and zeros one beyond the border."""
    k, pose, _, _ = cameras()
    shifted = k.clone()
    shifted[:, :2, 2] += torch.tensor([1.0, -1.0])
    depth = torch.full((2, 1, 21, 26), 2.0)
    same, _ = PlaneSweep(SOURCE, k, pose, k, pose)(depth)
    torch.testing.assert_close(same[:, :, 0], SOURCE, atol=1e-4, rtol=0)
    moved, valid = PlaneSweep(SOURCE, k, pose, shifted, pose)(depth)
    torch.testing.assert_close(moved[:, :, 0, 1:, :-1], SOURCE[:, :, :-1, 1:], atol=1e-4, rtol=0)
    assert (moved[:, :, 0, 0].abs() < 1e-4).all() and (moved[:, :, 0, :, -1].abs() < 1e-4).all()
    assert not valid[:, 0, 0].any() and not valid[:, 0, :, -1].any() and valid[:, 0, 2:, :-2].all()


def test_far_outside_in_every_direction_is_zero():
    k, pose, _, _ = cameras()
    for shift in ([1e5, 1e5], [-1e5, 1e5], [1e5, -1e5], [-1e5, -1e5]):
        away = k.clone()
        away[:, :2, 2] += torch.tensor(shift)
        features, valid = PlaneSweep(SOURCE, k, pose, away, pose)(torch.full((2, 2, 9, 11), 2.0))
        assert (features == 0).all() and not valid.any()
