import pytest
import torch
from torch import nn

from toolbox.errors import UserError
from toolbox.models.layers import Conv3d, ConvBlock, ConvTranspose3d, build_norm


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
