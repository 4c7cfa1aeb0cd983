"""Layers for each voxel, pooling, dense volumes, joining tensors."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toolbox.errors import UserError
from toolbox.sparse import (
    AvgPool3d,
    BatchNorm,
    Conv3d,
    FeatureWise,
    LeakyReLU,
    MaxPool3d,
    ReLU,
    Sigmoid,
    SparseTensor,
    Tanh,
    batch,
    cat,
    from_dense,
    global_avg_pool,
    global_max_pool,
    to_dense,
)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (ReLU(), torch.relu),
        (LeakyReLU(0.1), lambda f: F.leaky_relu(f, 0.1)),
        (Sigmoid(), torch.sigmoid),
        (Tanh(), torch.tanh),
        (FeatureWise(nn.Softplus()), F.softplus),
    ],
)
def test_activations_change_features_alone(scattered, layer, function):
    x = scattered()
    out = layer(x)
    assert out.voxels is x.voxels
    torch.testing.assert_close(out.feats, function(x.feats))


def test_batch_normalisation(scattered):
    x, norm = scattered(dtype=torch.float32), BatchNorm(3)
    reference = nn.BatchNorm1d(3)
    torch.testing.assert_close(norm(x).feats, reference(x.feats))
    torch.testing.assert_close(norm.eval()(x).feats, reference.eval()(x.feats))
    torch.testing.assert_close(norm.norm.running_var, reference.running_var)


@pytest.mark.parametrize("num", [0, 1])
def test_batch_normalisation_of_too_few_voxels_uses_the_running_statistics(scattered, num):
    norm = BatchNorm(3)
    norm(scattered(dtype=torch.float32))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = scattered(num=num, dtype=torch.float32)
    feats = x.feats.requires_grad_()
    out = norm(x.replace(feats))
    torch.testing.assert_close(out.feats, norm.eval()(x).feats)
    out.feats.sum().backward()
    assert torch.isfinite(feats.grad).all()
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_gradients(scattered):
    x = scattered(num=12)
    norm, feats = BatchNorm(3).double(), x.feats.requires_grad_()
    layers = (norm, ReLU(), LeakyReLU(), Sigmoid(), Tanh(), FeatureWise(nn.Linear(3, 2).double()))
    functions = [lambda f, layer=layer: layer(x.replace(f)).feats for layer in layers]
    functions += [lambda f: cat((x.replace(f), x)).feats, lambda f: (x.replace(f) + x.replace(f * f)).feats]
    functions += [lambda f: batch((x.replace(f), x)).feats]
    assert all(torch.autograd.gradcheck(function, (feats,)) for function in functions)
    volume = torch.randn(1, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: from_dense(v).feats, (volume,))


def test_batch_normalisation_can_be_synchronised(scattered):
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(Conv3d(3, 3), BatchNorm(3)))
    assert isinstance(converted[1], BatchNorm) and isinstance(converted[1].norm, nn.SyncBatchNorm)
    x = scattered(num=1, dtype=torch.float32)
    torch.testing.assert_close(converted[1](x).feats, BatchNorm(3)(x).feats)


def test_pooling_equals_dense_pooling_on_a_full_grid():
    volume = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    x = from_dense(volume)
    for layer, function in ((AvgPool3d(2), F.avg_pool3d), (MaxPool3d(2), F.max_pool3d)):
        expected = function(volume, 2)
        torch.testing.assert_close(to_dense(layer(x), tuple(expected.shape[2:])), expected)
    torch.testing.assert_close(global_avg_pool(x), volume.mean(dim=(2, 3, 4)))
    torch.testing.assert_close(global_max_pool(x), volume.amax(dim=(2, 3, 4)))


def test_pooling_counts_only_voxels_that_are_there():
    coords = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [0, 2, 0, 0]], dtype=torch.int32)
    x = SparseTensor(coords, torch.tensor([[-1.0], [-4.0], [7.0]]))
    assert AvgPool3d()(x).feats.tolist() == [[-2.5], [7.0]]
    assert MaxPool3d()(x).feats.tolist() == [[-1.0], [7.0]]
    assert AvgPool3d()(AvgPool3d()(x)).feats.tolist() == [[2.25]]


def test_a_grid_without_voxels_pools_to_zero():
    x = SparseTensor(torch.tensor([[1, 0, 0, 0]], dtype=torch.int32), torch.tensor([[-3.0]]))
    assert global_avg_pool(x, 3).tolist() == global_max_pool(x, 3).tolist() == [[0], [-3], [0]]


def test_gradients_of_pooling(scattered):
    x = scattered(num=20)
    feats = x.feats.requires_grad_()
    functions = (
        lambda f: AvgPool3d()(x.replace(f)).feats,
        lambda f: MaxPool3d()(x.replace(f)).feats,
        lambda f: global_avg_pool(x.replace(f)),
        lambda f: global_max_pool(x.replace(f)),
    )
    for function in functions:
        assert torch.autograd.gradcheck(function, (feats,))


@pytest.mark.parametrize("num", [0, 1])
def test_pooling_no_voxel_and_one_voxel(scattered, num):
    x = scattered(num=num)
    feats = x.feats.requires_grad_()
    for layer in (AvgPool3d(), MaxPool3d()):
        out = layer(x.replace(feats))
        assert out.feats.shape == (num, 3)
        torch.testing.assert_close(out.feats, x.feats)
        (grad,) = torch.autograd.grad(out.feats.sum(), feats)
        assert (grad == 1).all()
    assert global_avg_pool(x, 2).shape == global_max_pool(x, 2).shape == (2, 3)


def test_dense_and_back(scattered):
    x = scattered()
    feats = x.feats.requires_grad_()
    dense = to_dense(x.replace(feats), (6, 5, 7), origin=(-4, -4, -4), fill=9.0)
    assert dense.shape == (2, 3, 6, 5, 7)
    assert (dense == 9).all(dim=1).sum() == 2 * 6 * 5 * 7 - len(x)
    back = from_dense(dense, (dense != 9).any(dim=1), origin=(-4, -4, -4))
    torch.testing.assert_close(back.feats, x.feats[x.voxels.find(back.coords)])
    assert torch.autograd.gradcheck(lambda f: to_dense(x.replace(f), (6, 5, 7), (-4, -4, -4)), (feats,))


def test_dense_with_a_stride():
    volume = torch.zeros(1, 1, 2, 3, 4)
    volume[0, 0, 1, 2, 3] = 5
    x = from_dense(volume, origin=(8, -4, 0), stride=4)
    assert x.coords.tolist() == [[0, 12, 4, 12]] and x.feats.tolist() == [[5]]
    assert torch.equal(to_dense(x, (2, 3, 4), origin=(8, -4, 0)), volume)


@pytest.mark.parametrize("settings", [{"shape": (6, 5, 6)}, {"shape": (6, 5, 7), "batch_size": 1}])
def test_voxels_outside_the_volume_are_counted(scattered, settings):
    with pytest.raises(UserError, match=r"\d+ of 60 voxels lie outside"):
        to_dense(scattered(), origin=(-4, -4, -4), **settings)


def test_an_empty_tensor_is_an_empty_volume():
    x = SparseTensor(torch.zeros(0, 4, dtype=torch.int32), torch.zeros(0, 2))
    assert to_dense(x, (2, 3, 4), batch_size=2).abs().sum() == 0
    assert len(from_dense(torch.zeros(1, 2, 3, 4, 5))) == 0


def test_channels_side_by_side(scattered):
    x = scattered()
    assert torch.equal(cat((x, x.replace(-x.feats))).feats, torch.cat((x.feats, -x.feats), dim=1))
    twin = SparseTensor(x.coords.clone(), x.feats)
    assert torch.equal((x + twin).feats, 2 * x.feats)
    with pytest.raises(UserError, match="60 voxels of stride 1, 59 voxels of stride 1"):
        cat((x, scattered(num=59)))
    with pytest.raises(UserError, match="different voxels"):
        x + scattered(seed=9)


def test_batches(scattered):
    first, second = scattered(), scattered(batch_size=1, seed=7)
    together = batch((first, second))
    assert together.batch_size == 3
    assert torch.equal(together.coords[60:, 1:], second.coords[:, 1:]) and (together.coords[60:, 0] == 2).all()
    with pytest.raises(UserError, match=r"strides \[1, 2\] differ"):
        batch((first, AvgPool3d()(second)))
