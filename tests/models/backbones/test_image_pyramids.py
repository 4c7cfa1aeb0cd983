"""Encoders with feature pyramids: published outputs, names of ImageNet weights, sizes."""

import re

import pytest
import torch

from toolbox.errors import UserError
from toolbox.models.backbones import MnasNetFPN, ResNet18FPN
from toolbox.registry import BACKBONES, MODELS


@pytest.fixture(scope="module")
def golden(shared):
    return torch.load(shared / "golden/msr/backbone.pt", weights_only=True)


@pytest.fixture(scope="module")
def published(golden) -> ResNet18FPN:
    backbone = BACKBONES.build({"type": "ResNet18FPN", "published_scale": True}).eval()
    backbone.load_state_dict(golden["state_dict"], strict=True)
    return backbone


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    assert ours.shape == expected.shape
    return float((ours - expected).abs().max() / expected.abs().max())


def test_published_resnet_features(golden, published):
    with torch.no_grad():
        image = golden["image"] / 255
        encoded, pyramid = published.encode(image), published(image)
    names = ("conv1_out", "block1_out", "block2_out", "block00_out_up", "block0_out_up_out", "block1_out_up_out")
    for name, ours in zip(names, encoded + pyramid, strict=True):
        assert relative_error(ours, golden["outputs"][name]) < 1e-4, name


def test_the_right_scale_of_colours_is_the_default(golden):
    backbone = ResNet18FPN().eval()
    backbone.load_state_dict(golden["state_dict"])
    with torch.no_grad():
        image = golden["image"] / 255
        features = backbone.encode(image) + backbone(image)
    for ours, expected in zip(features, golden["outputs_img_div255_small"].values(), strict=True):
        assert relative_error(ours[:, :8], expected) < 1e-4


@pytest.mark.parametrize("size", [(32, 48), (37, 53)])
@pytest.mark.parametrize("backbone", [ResNet18FPN(8, width=8), MnasNetFPN(0.25)])
def test_channels_and_strides_are_as_declared(backbone, size):
    images = torch.rand(2, 3, *size)
    for level, features in enumerate(backbone(images, 3)):
        stride = backbone.finest_stride * 2**level
        assert features.shape == (2, backbone.out_channels[level], -(-size[0] // stride), -(-size[1] // stride))
    assert [f.shape[1] for f in backbone.encode(images)] == list(backbone.encoder_channels)
    backbone(images)[0].sum().backward()
    unused = [n for n, p in backbone.named_parameters() if p.grad is None]
    assert unused in ([], ["out_coarse.weight", "out_middle.weight"])


def classifier_weights(encoder: torch.nn.Module, more: dict) -> dict:
    generator = torch.Generator().manual_seed(3)
    state = {name: torch.rand(v.shape, generator=generator) for name, v in encoder.state_dict().items()}
    return state | more


@pytest.mark.parametrize(
    ("kind", "surplus", "pattern"),
    [
        ("ResNet18FPN", "layer4.1.conv2.weight", r"(conv1|bn1|layer[12]\.[01]\.(conv|bn|downsample\.)[0-2])\.\w+"),
        ("MnasNetFPN", "classifier.1.weight", r"layers\.(\d|10|[89]\.[0-2]\.layers\.\d|10\.[0-2]\.layers\.\d)\.\w+"),
    ],
)
def test_weights_of_the_whole_classifier_load_from_a_file_or_an_address(tmp_path, monkeypatch, kind, surplus, pattern):
    backbone = BACKBONES.build({"type": kind})
    state = classifier_weights(backbone.encoder, {surplus: torch.zeros(2)})
    assert all(re.fullmatch(pattern, name) for name in state if name != surplus)
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for weights in (tmp_path / "weights.pth", f"file://{tmp_path}/weights.pth"):
        loaded = BACKBONES.build({"type": kind, "weights": weights})
        loaded.init_weights()
        own = loaded.encoder.state_dict()
        assert all(torch.equal(own[name], state[name].to(own[name].dtype)) for name in own)


def test_weights_are_read_where_a_training_starts(tmp_path):
    """A network whose weights come from a checkpoint does without ImageNet's."""
    backbone = {"type": "ResNet18FPN", "channels": 4, "width": 8, "weights": str(tmp_path / "weights.pth")}
    neck = {"type": "CoarseToFine", "networks": [{"type": "SPVCNN", "width": 0.0625}] * 3}
    model = MODELS.build({"type": "VolumetricReconstructor", "backbone": backbone, "neck": neck})
    state = classifier_weights(model.backbone.encoder, {})
    torch.save(state, tmp_path / "weights.pth")
    model.init_weights()
    assert torch.equal(model.backbone.encoder.conv1.weight, state["conv1.weight"])


def test_other_weights_are_refused_by_name(tmp_path):
    backbone = ResNet18FPN()
    state = classifier_weights(backbone.encoder, {"head.weight": torch.zeros(1)})
    state["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    del state["bn1.bias"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError) as caught:
        ResNet18FPN(weights=tmp_path / "other.pth").init_weights()
    for told in ("other.pth", "missing (e.g. bn1.bias)", "unknown (e.g. head.weight)", "another shape (e.g. conv1.wei"):
        assert told in str(caught.value)


def test_mnasnet_has_the_published_channels():
    backbone = MnasNetFPN()
    assert backbone.out_channels == (24, 40, 80)
    # torchvision's mnasnet1_0 has 4,383,312 parameters, 4,119,240 of them in its layers 11 to 15 and its classifier.
    assert sum(p.numel() for p in backbone.encoder.parameters()) == 4_383_312 - 4_119_240
    with pytest.raises(UserError, match="three levels"):
        backbone(torch.rand(1, 3, 32, 32), 2)


def test_published_mean_of_mnasnet():
    backbone = MnasNetFPN(0.25).eval()
    image = torch.rand(1, 3, 32, 40)
    other = MnasNetFPN(0.25, published_mean=True).eval()
    other.load_state_dict(backbone.state_dict())
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    shown = (image * 255 - torch.tensor([103.53, 116.28, 123.675])[:, None, None]) * std[:, None, None]
    torch.testing.assert_close(other(image)[0], backbone(shown + mean[:, None, None])[0], rtol=1e-3, atol=1e-3)
