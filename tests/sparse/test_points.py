"""Points to voxels and back."""

import itertools

import pytest
import torch
from torch import Tensor

from toolbox.errors import UserError
from toolbox.sparse import PointTensor, SparseTensor, devoxelize, points_to_voxels, voxelize


def some_points(num: int = 40, channels: int = 2, seed: int = 4) -> PointTensor:
    """Two scenes' points in a few voxels, with negative coordinates."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, 2, (num, 1), generator=generator).double()
    place = torch.rand(num, 3, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 4.0, 5.0]) - 2
    feats = torch.randn(num, channels, generator=generator, dtype=torch.float64)
    return PointTensor(torch.cat((batch, place), dim=1), feats)


def test_a_voxel_is_the_mean_of_its_points():
    points = some_points()
    groups: dict[tuple[int, ...], list[Tensor]] = {}
    for (b, *place), feats in zip(points.coords.tolist(), points.feats, strict=True):
        groups.setdefault((int(b), *(int(torch.tensor(p).floor()) for p in place)), []).append(feats)
    voxels = voxelize(points)
    assert [tuple(voxel) for voxel in voxels.coords.tolist()] == sorted(groups)
    expected = torch.stack([torch.stack(groups[voxel]).mean(dim=0) for voxel in sorted(groups)])
    torch.testing.assert_close(voxels.feats, expected)


def test_voxel_size():
    points = PointTensor(torch.tensor([[0, 0.07, -0.01, 0.16]]), torch.ones(1, 1))
    assert voxelize(points.in_voxels(0.08)).coords.tolist() == [[0, 0, -1, 2]]
    assert points.coords[0, 1].item() == pytest.approx(0.07)


@pytest.mark.parametrize("stride", [1, 2])
def test_to_voxels_that_are_given(stride):
    points = some_points()
    voxels = voxelize(points)
    chosen = voxels.family.coarser(1, 2).coords[1::2] if stride == 2 else voxels.coords[::3]
    fewer = SparseTensor(chosen, torch.zeros(len(chosen), 0, dtype=torch.float64), stride)
    means = points_to_voxels(points, fewer)
    home = torch.cat((points.coords[:, :1], (points.coords[:, 1:] / stride).floor() * stride), dim=1).int()
    for voxel, mean in zip(means.coords, means.feats, strict=True):
        torch.testing.assert_close(mean, points.feats[(home == voxel).all(dim=1)].mean(dim=0))


def test_a_voxel_without_points_is_zero():
    points = PointTensor(torch.tensor([[0, 0.5, 0.5, 0.5]]), torch.ones(1, 2))
    voxels = SparseTensor(torch.tensor([[0, 3, 3, 3], [0, 0, 0, 0]], dtype=torch.int32), torch.zeros(2, 1))
    assert points_to_voxels(points, voxels).feats.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_linear_field_is_interpolated_exactly(stride):
    """Between voxels that are all there; a voxel's value stands at its lowest corner."""
    points = some_points()
    grid = itertools.product((0, 1), *(range(-4, 9, stride) for _ in range(3)))
    coords = torch.tensor(list(grid), dtype=torch.int32)
    field = torch.tensor([[0.7], [-1.3], [0.2]], dtype=torch.float64)
    values = coords[:, 1:].double() @ field + 5 * coords[:, :1]
    out = devoxelize(SparseTensor(coords, values, stride), points).feats
    expected = points.coords[:, 1:] @ field + 5 * points.coords[:, :1]
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_missing_voxels_are_left_out_of_the_interpolation():
    coords = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.int32)
    voxels = SparseTensor(coords, torch.tensor([[2.0], [6.0]]))
    points = PointTensor(torch.tensor([[0, 0.25, 0.5, 0.5], [0, 5, 5, 5], [1, 0.2, 0.1, 0.1]]), torch.zeros(3, 1))
    out = devoxelize(voxels, points).feats[:, 0].tolist()
    assert out == pytest.approx([0.75 * 2 + 0.25 * 6, 0, 0], abs=1e-6)


def test_nearest_takes_the_voxel_that_holds_the_point():
    points = some_points()
    voxels = voxelize(points)
    out = devoxelize(voxels, points, mode="nearest").feats
    rows = voxels.voxels.find(voxels.coords)
    home = points.coords.floor().int()
    expected = torch.stack([voxels.feats[rows[(voxels.coords == voxel).all(dim=1)][0]] for voxel in home])
    torch.testing.assert_close(out, expected)
    damped = devoxelize(voxels, points, mode="nearest", published_nearest=True).feats
    assert (damped.abs() <= out.abs() + 1e-12).all() and not torch.allclose(damped, out)


def test_gradients():
    points = some_points(num=15)
    voxels = voxelize(points)
    coarse = voxels.at_stride(2, torch.randn(len(voxels.family.coarser(1, 2)), 2, dtype=torch.float64))
    feats, at_voxels = points.feats.requires_grad_(), coarse.feats.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: voxelize(points.replace(f)).feats, (feats,))
    assert torch.autograd.gradcheck(lambda f: points_to_voxels(points.replace(f), coarse).feats, (feats,))
    for mode in ("trilinear", "nearest"):
        assert torch.autograd.gradcheck(lambda v, m=mode: devoxelize(coarse.replace(v), points, m).feats, (at_voxels,))


@pytest.mark.parametrize("num", [0, 1])
def test_no_point_and_one_point(num):
    points = some_points(num)
    feats = points.feats.requires_grad_()
    voxels = voxelize(points.replace(feats))
    assert voxels.feats.shape == (num, 2)
    for mode in ("trilinear", "nearest"):
        out = devoxelize(voxels, points, mode)
        assert out.feats.shape == (num, 2)
        (grad,) = torch.autograd.grad(out.feats.sum(), feats, retain_graph=True)
        assert grad.shape == feats.shape and torch.isfinite(grad).all()


def test_points_where_there_are_no_voxels_get_zeros():
    none = SparseTensor(torch.zeros(0, 4, dtype=torch.int32), torch.zeros(0, 2, dtype=torch.float64))
    assert torch.equal(devoxelize(none, some_points()).feats, torch.zeros(40, 2, dtype=torch.float64))


def test_scenes_of_a_batch_do_not_meet():
    points = some_points()
    devoxelized = devoxelize(voxelize(points), points).feats
    for scene in (0, 1):
        own = points.coords[:, 0] == scene
        alone = PointTensor(points.coords[own], points.feats[own])
        torch.testing.assert_close(devoxelized[own], devoxelize(voxelize(alone), alone).feats)


def test_half_precision_features_stay_half_precision():
    points = some_points()
    points = PointTensor(points.coords.float(), points.feats.bfloat16())
    voxels = voxelize(points)
    assert voxels.feats.dtype == devoxelize(voxels, points).feats.dtype == torch.bfloat16
    exact = voxelize(PointTensor(points.coords, points.feats.float())).feats
    assert (voxels.feats - exact).abs().max() < 0.02


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_impossible_points_are_refused(bad):
    points = PointTensor(torch.tensor([[0, 0, 0, 0], [0, 1, bad, 1]]), torch.zeros(2, 1))
    with pytest.raises(UserError, match="not finite, or beyond"):
        voxelize(points)


def test_an_unknown_mode_is_refused():
    points = some_points()
    with pytest.raises(UserError, match=r"mode='cubic'.*trilinear, nearest"):
        devoxelize(voxelize(points), points, mode="cubic")
