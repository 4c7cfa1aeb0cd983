"""Convolutions: against dense ones, pair by pair, and by finite differences."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from toolbox.errors import UserError
from toolbox.sparse import Conv3d, ConvSpec, SparseTensor, batch, conv3d, from_dense, kernel_map, to_dense
from toolbox.sparse.backends import torch_backend, weightwise

GEOMETRIES = [
    ConvSpec(3),
    ConvSpec(2),
    ConvSpec(5),
    ConvSpec(3, dilation=2),
    ConvSpec(2, 2),
    ConvSpec(3, 2),
    ConvSpec(3, 3),
    ConvSpec(1, 2),
    ConvSpec(3, 2, dilation=3),
]


def weights(spec: ConvSpec, before: int = 3, after: int = 4) -> Tensor:
    return torch.randn(spec.volume, before, after, dtype=torch.float64, requires_grad=True)


def dense_kernel(weight: Tensor, size: int) -> Tensor:
    """(k, in, out) -> (out, in, x, y, z)."""
    cube = weight.reshape(size, size, size, *weight.shape[1:])
    cube = cube.permute(2, 1, 0, 3, 4) if size % 2 else cube
    return cube.permute(4, 3, 0, 1, 2)


def at_voxels(volume: Tensor, x: SparseTensor) -> Tensor:
    """Values of a volume whose first voxel is at 0, at the voxels of a tensor."""
    place = x.coords.long()
    place[:, 1:] //= x.stride
    b, i, j, k = place.unbind(dim=1)
    return volume.permute(0, 2, 3, 4, 1)[b, i, j, k]


@pytest.fixture(params=["blocks of 1", "blocks of 16", "blocks of 256", "weight by weight"])
def way(request, monkeypatch):
    """Block by block, as on a CPU, or weight by weight, as elsewhere."""
    if request.param == "weight by weight":
        monkeypatch.setattr(kernel_map, "_in_blocks", lambda device: False)
        monkeypatch.setattr(torch_backend, "_way", lambda device: weightwise)
    else:
        monkeypatch.setattr(kernel_map, "_BLOCK", int(request.param.split()[-1]))


@pytest.mark.parametrize("spec", GEOMETRIES, ids=str)
def test_every_pair_counts_once(scattered, spec, way):
    x, weight = scattered(), weights(spec).detach()
    out = conv3d(x, weight, spec)
    rows = {tuple(voxel): row for row, voxel in enumerate(x.coords.tolist())}
    expected = torch.zeros(len(out), 4, dtype=torch.float64)
    for target, (b, *place) in enumerate(out.coords.tolist()):
        for k, offset in enumerate(spec.offsets()):
            source = rows.get((b, *(p + o for p, o in zip(place, offset, strict=True))))
            if source is not None:
                expected[target] += x.feats[source] @ weight[k]
    torch.testing.assert_close(out.feats, expected)


@pytest.mark.parametrize("size", [2, 3])
def test_finer_voxels_that_no_coarser_one_reaches_get_nothing(scattered, size, way):
    """Each finer voxel belongs to one coarser voxel, or to none: a kernel of 2 or 3 at a stride of 3."""
    x, spec = scattered(), ConvSpec(size, 3)
    coarse = x.at_stride(3, torch.randn(len(x.family.coarser(1, 3)), 2, dtype=torch.float64))
    weight = weights(spec, 2, 4).detach()
    out = conv3d(coarse, weight, ConvSpec(size, 3, transposed=True)).feats
    expected = torch.zeros_like(out)
    rows = {tuple(voxel): row for row, voxel in enumerate(x.coords.tolist())}
    for row, (b, *place) in enumerate(coarse.coords.tolist()):
        for k, offset in enumerate(spec.offsets()):
            fine = rows.get((b, *(p + o for p, o in zip(place, offset, strict=True))))
            if fine is not None:
                expected[fine] += coarse.feats[row] @ weight[k]
    assert (expected == 0).all(dim=1).any()
    torch.testing.assert_close(out, expected)


def test_order_of_the_weights():
    assert ConvSpec(3).offsets()[:4] == [(-1, -1, -1), (0, -1, -1), (1, -1, -1), (-1, 0, -1)]
    assert ConvSpec(3).offsets()[13] == (0, 0, 0)
    assert ConvSpec(2).offsets()[:3] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
    assert ConvSpec(3, dilation=2).offsets()[1] == (0, -2, -2)
    assert ConvSpec(4).offsets()[0] == (-1, -1, -1)


def test_output_voxels_of_a_strided_convolution(scattered):
    x = scattered()
    out = conv3d(x, weights(ConvSpec(2, 2)), ConvSpec(2, 2))
    expected = sorted({(b, *(p // 2 * 2 for p in place)) for b, *place in x.coords.tolist()})
    assert [tuple(voxel) for voxel in out.coords.tolist()] == expected
    assert out.stride == 2


@pytest.mark.parametrize("spec", [ConvSpec(3), ConvSpec(5), ConvSpec(3, dilation=2)], ids=str)
def test_submanifold_equals_dense_at_its_voxels(spec):
    volume = torch.randn(2, 3, 6, 5, 7, dtype=torch.float64)
    mask = torch.rand(2, 6, 5, 7) < 0.4
    weight = weights(spec)
    out = conv3d(from_dense(volume, mask), weight, spec)
    padding = spec.dilation * (spec.kernel_size // 2)
    masked = volume * mask[:, None]
    expected = F.conv3d(masked, dense_kernel(weight, spec.kernel_size), padding=padding, dilation=spec.dilation)
    assert len(out) == mask.sum()
    torch.testing.assert_close(out.feats, at_voxels(expected, out))


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 3, 1)])
def test_on_a_full_grid_strided_and_transposed_equal_dense(size, stride, padding):
    volume = torch.randn(2, 3, 6, 12, 6, dtype=torch.float64)
    down, up = ConvSpec(size, stride), ConvSpec(size, stride, transposed=True)
    weight, back = weights(down), weights(up, 4, 2)
    x = from_dense(volume)
    coarse = conv3d(x, weight, down)
    expected = F.conv3d(volume, dense_kernel(weight, size), stride=stride, padding=padding)
    torch.testing.assert_close(to_dense(coarse, tuple(expected.shape[2:])), expected)
    fine = conv3d(coarse, back, up)
    kernel = dense_kernel(back, size).transpose(0, 1)
    more = stride - size + 2 * padding
    expected = F.conv_transpose3d(expected, kernel, stride=stride, padding=padding, output_padding=more)
    torch.testing.assert_close(to_dense(fine, tuple(expected.shape[2:])), expected)
    assert fine.voxels is x.voxels


@pytest.mark.parametrize("spec", [spec for spec in GEOMETRIES if spec.kernel_size < 5], ids=str)
def test_gradients(scattered, spec, way):
    x = scattered(num=20, channels=2)
    feats = x.feats.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, w: conv3d(x.replace(f), w, spec).feats, (feats, weights(spec, 2, 1)))


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_of_a_transposed_convolution(scattered, size, way):
    x = scattered(num=20)
    coarse = x.at_stride(2, torch.randn(len(x.family.coarser(1, 2)), 2, dtype=torch.float64, requires_grad=True))
    spec = ConvSpec(size, 2, transposed=True)

    def convolve(feats: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return conv3d(coarse.replace(feats), weight, spec, bias).feats

    weight, bias = weights(spec, 2, 1), torch.randn(1, dtype=torch.float64, requires_grad=True)
    assert convolve(coarse.feats, weight, bias).shape == (20, 1)
    assert torch.autograd.gradcheck(convolve, (coarse.feats, weight, bias))


def test_gradients_of_a_kernel_of_one(scattered):
    x = scattered(num=9)
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    feats = x.feats.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, w: conv3d(x.replace(f), w, ConvSpec(1)).feats, (feats, weight))


def test_only_what_needs_a_gradient_gets_one(scattered, way):
    x = scattered()
    weight = weights(ConvSpec(3))
    conv3d(x, weight, ConvSpec(3)).feats.sum().backward()
    assert weight.grad is not None and x.feats.grad is None
    feats = x.feats.requires_grad_()
    conv3d(x.replace(feats), weight.detach(), ConvSpec(3)).feats.sum().backward()
    assert feats.grad is not None


@pytest.mark.parametrize("num", [0, 1])
@pytest.mark.parametrize("spec", GEOMETRIES, ids=str)
def test_no_voxel_and_one_voxel(scattered, num, spec, way):
    x = scattered(num=num)
    feats, weight = x.feats.requires_grad_(), weights(spec)
    out = conv3d(x.replace(feats), weight, spec)
    assert out.feats.shape == (num, 4)
    if spec.stride > 1:
        back = conv3d(out, weights(spec, 4, 2), ConvSpec(spec.kernel_size, spec.stride, spec.dilation, True))
        assert back.feats.shape == (num, 2)
        out = back
    out.feats.square().sum().backward()
    assert feats.grad.shape == (num, 3) and torch.isfinite(feats.grad).all()
    if num == 0:
        assert (weight.grad == 0).all()


def test_grids_of_a_batch_do_not_meet(scattered, way):
    """Also where they lie at the same place, and the largest coordinate of one is beside the smallest of the next."""
    parts = [scattered(batch_size=1, seed=seed, num=40) for seed in (5, 8, 11)]
    together = batch(parts)
    weight, back = weights(ConvSpec(3)), weights(ConvSpec(2, 2, 1, True), 4, 2)
    halved = weights(ConvSpec(2, 2), 4, 4)

    def network(x: SparseTensor) -> Tensor:
        x = conv3d(conv3d(x, weight, ConvSpec(3)), halved, ConvSpec(2, 2))
        return conv3d(x, back, ConvSpec(2, 2, 1, True)).feats

    torch.testing.assert_close(network(together), torch.cat([network(part) for part in parts]))


def test_the_order_of_the_rows_does_not_matter(scattered, way):
    x, weight = scattered(), weights(ConvSpec(3))
    order = torch.randperm(len(x))
    shuffled = SparseTensor(x.coords[order], x.feats[order])
    out = conv3d(x, weight, ConvSpec(3)).feats
    torch.testing.assert_close(conv3d(shuffled, weight, ConvSpec(3)).feats, out[order])


def test_maps_are_built_once(scattered, way):
    x = scattered()
    for _ in range(3):
        y = conv3d(conv3d(x, weights(ConvSpec(3)), ConvSpec(3)), weights(ConvSpec(2, 2), 4), ConvSpec(2, 2))
        conv3d(y, weights(ConvSpec(2, 2, 1, True), 4), ConvSpec(2, 2, 1, True))
    assert sorted(key[2].kernel_size for key in x.family.cache) == [2, 3]


def assert_rounding(x: SparseTensor, weight: Tensor) -> None:
    """Single precision against double, forwards and backwards."""
    results = []
    for dtype in (torch.float64, torch.float32):
        feats, factors = (tensor.to(dtype, copy=True).requires_grad_() for tensor in (x.feats, weight))
        out = conv3d(SparseTensor(x.coords, feats), factors, ConvSpec(3)).feats
        out.square().sum().backward()
        results.append((out.double(), feats.grad.double(), factors.grad.double()))
    for exact, rounded in zip(*results, strict=True):
        assert (rounded - exact).abs().max() < 3e-6 * exact.abs().max()


@pytest.mark.parametrize(("before", "after"), [(16, 24), (3, 1), (33, 50)])
def test_single_precision_is_as_good_as_its_rounding(scattered, way, before, after):
    assert_rounding(scattered(channels=before), weights(ConvSpec(3), before, after).detach())


def test_single_precision_with_more_voxels_than_a_block_and_a_group_of_blocks(scattered):
    assert_rounding(scattered(3000, channels=32, batch_size=16), weights(ConvSpec(3), 32, 96).detach())


def test_on_several_levels_against_the_same_grid_scaled_down(scattered):
    """A tensor of stride 2 with even coordinates is the same as one of stride 1 with half of them."""
    x = scattered()
    doubled = x.coords.clone()
    doubled[:, 1:] *= 2
    wide = SparseTensor(doubled, x.feats, stride=2)
    for spec in (ConvSpec(3), ConvSpec(3, dilation=2), ConvSpec(2, 2)):
        weight = weights(spec)
        torch.testing.assert_close(conv3d(wide, weight, spec).feats, conv3d(x, weight, spec).feats)


def test_automatic_mixed_precision(scattered, way):
    x = scattered(dtype=torch.float32, channels=16)
    conv, up = Conv3d(16, 8, 2, stride=2, bias=True), Conv3d(8, 4, 2, stride=2, transposed=True)
    first = Conv3d(16, 16, 3)
    full = up(conv(first(x))).feats
    with torch.autocast("cpu", torch.bfloat16):
        half = up(conv(first(x))).feats
        half.float().sum().backward()
    assert half.dtype == torch.bfloat16
    assert (half - full).abs().max() < 0.02 * full.abs().max()
    for layer in (first, conv, up):
        assert layer.weight.grad.dtype == torch.float32 and layer.weight.grad.abs().sum() > 0


def test_the_module_starts_within_its_bounds_and_says_what_it_is():
    conv = Conv3d(4, 16, 3, bias=True)
    assert conv.weight.shape == (27, 4, 16) and Conv3d(4, 16, 1).weight.shape == (4, 16)
    bound = (4 * 27) ** -0.5
    assert 0.9 * bound < conv.weight.abs().max() <= bound
    transposed = Conv3d(4, 16, 2, 2, transposed=True)
    assert 0.9 * (16 * 8) ** -0.5 < transposed.weight.abs().max() <= (16 * 8) ** -0.5
    assert "4, 16" in repr(conv) and "kernel_size=3" in repr(conv)


def test_the_bias_is_added_at_every_output_voxel(scattered):
    conv = Conv3d(3, 5, 2, 2, bias=True).double()
    x = scattered()
    without = conv3d(x, conv.weight, conv.spec)
    torch.testing.assert_close(conv(x).feats, without.feats + conv.bias)


def test_mistakes_are_named(scattered):
    x = scattered()
    with pytest.raises(UserError, match="no finer voxels for a tensor of stride 1 and a factor of 2"):
        conv3d(x, weights(ConvSpec(2)), ConvSpec(2, 2, transposed=True))
    with pytest.raises(UserError, match="reaches farther"):
        conv3d(x, weights(ConvSpec(3)), ConvSpec(3, dilation=5000))
    with pytest.raises(UserError, match=r"stride=0.* not all positive"):
        Conv3d(3, 3, 2, stride=0)


def test_results_repeat_to_the_bit(scattered, way):
    x = scattered(dtype=torch.float32)
    weight = torch.randn(27, 3, 4, requires_grad=True)
    runs = []
    for _ in range(2):
        feats = x.feats.clone().requires_grad_()
        out = conv3d(SparseTensor(x.coords, feats), weight, ConvSpec(3)).feats
        runs.append((out, *torch.autograd.grad(out.square().sum(), (feats, weight))))
    assert all(torch.equal(a, b) for a, b in itertools.zip_longest(*runs))


def test_results_do_not_depend_on_the_number_of_threads(scattered):
    x, weight, runs, before = scattered(600, 9, 4, torch.float32), torch.randn(27, 9, 20), [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            leaves = x.feats.clone().requires_grad_(), weight.clone().requires_grad_()
            out = conv3d(SparseTensor(x.coords, leaves[0]), leaves[1], ConvSpec(3)).feats
            runs.append((out, *torch.autograd.grad(out, leaves, torch.ones_like(out))))
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in itertools.zip_longest(*runs))
