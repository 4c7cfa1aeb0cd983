import pytest
import torch
from torch import nn

from toolbox.errors import UserError
from toolbox.models.layers import Conv3d, ConvBlock, ConvTranspose3d, ScoreConv3d, build_norm


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (Conv3d, nn.Conv3d, {"stride": 1, "padding": 1}),
        (Conv3d, nn.Conv3d, {"stride": 2, "padding": 1, "bias": False}),
        (ConvTranspose3d, nn.ConvTranspose3d, {"stride": 2, "padding": 1, "output_padding": 1}),
    ],
)
def test_single_volumes_give_what_pytorch_gives(ours, theirs, settings, batch):
    """Values and gradients, whichever way the convolution is computed."""
    reference = theirs(4, 6, 3, **settings)
    layer = ours(4, 6, 3, **settings)
    layer.load_state_dict(reference.state_dict())
    inputs = [torch.randn(batch, 4, 6, 8, 10).requires_grad_() for _ in range(1)] * 2
    outputs = [module(x) for module, x in zip((layer, reference), inputs, strict=True)]
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(outputs[0])
    gradients = [
        torch.autograd.grad((out * weights).sum(), (x, *module.parameters()))
        for out, x, module in zip(outputs, inputs, (layer, reference), strict=True)
    ]
    for mine, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("negative_slope", [0.0, 0.1, None])
@pytest.mark.parametrize(
    ("dims", "stride", "transposed", "norm"),
    [(2, 1, False, None), (2, 2, False, "batch"), (3, 2, False, "batch"), (3, 2, True, "batch"), (3, 1, True, "group")],
)
def test_inference_in_one_pass_gives_what_the_layers_give(dims, stride, transposed, norm, negative_slope):
    """Statistics folded into the weights, and the activation into the convolution."""
    block = ConvBlock(3, 8, dims, stride=stride, norm=norm, negative_slope=negative_slope, transposed=transposed)
    if norm == "batch":
        nn.init.uniform_(block.norm.weight, 0.5, 2)
        nn.init.normal_(block.norm.running_mean)
        nn.init.uniform_(block.norm.running_var, 0.5, 2)
    x = torch.randn(1, 3, *(4, 6, 10)[-dims:])
    block.eval()
    expected = block.act(block.norm(block.conv(x))).detach()
    assert torch.allclose(block(x), expected, atol=1e-5), "with gradients"
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = block(x)
    assert rounded.dtype in (torch.bfloat16, torch.float32)
    torch.testing.assert_close(rounded.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("batch", [1, 2])
def test_scores_in_inference_are_those_of_training(batch):
    layer, volume = ScoreConv3d(5), torch.randn(batch, 5, 4, 6, 10)
    expected = layer(volume).detach()
    with torch.no_grad():
        torch.testing.assert_close(layer(volume), expected, atol=1e-5, rtol=1e-5)


def test_the_signal_keeps_its_size_through_many_layers():
    """With PyTorch's own start it shrinks to a hundredth."""
    layers = nn.Sequential(*(ConvBlock(16, 16, dims=2, norm=None, negative_slope=0.1) for _ in range(8)))
    out = layers(torch.randn(1, 16, 40, 40))
    assert 0.2 < out.std() < 5


@pytest.mark.parametrize("norm", ["batch", "group", None])
def test_bias_only_without_normalisation(norm):
    assert (ConvBlock(3, 5, dims=3, norm=norm).conv.bias is None) == (norm is not None)


def test_unknown_norm():
    with pytest.raises(UserError, match="group"):
        build_norm("layer", 8, 2)


@pytest.mark.parametrize("shape", [(3, 6, 5), (9, 4, 6), (4, 9, 6), (7, 7, 7)])
def test_gradients_of_a_single_volume_are_those_in_double_precision(shape):
    """Whichever axis is the shortest; kernel, stride, padding and dilation differ by axis."""
    settings = {"kernel_size": (3, 1, 2), "stride": (1, 2, 1), "padding": (1, 0, 2), "dilation": (1, 1, 2), "groups": 2}
    ours = Conv3d(4, 6, **settings)
    theirs = nn.Conv3d(4, 6, **settings).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 4, *shape, requires_grad=True)
    inputs = x.detach().double().requires_grad_()
    out, expected = ours(x), theirs(inputs)
    seed = torch.randn_like(out)
    found = torch.autograd.grad(out, [x, *ours.parameters()], seed)
    wanted = torch.autograd.grad(expected, [inputs, *theirs.parameters()], seed.double())
    for ours_gradient, gradient in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_gradient.double(), gradient, rtol=1e-4, atol=1e-4)


def test_a_single_volume_can_be_compiled():
    block = ConvBlock(4, 6, dims=3)
    x = torch.randn(1, 4, 3, 6, 5)
    compiled = torch.compile(block, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, block(x), rtol=1e-4, atol=1e-4)
    compiled.sum().backward()
