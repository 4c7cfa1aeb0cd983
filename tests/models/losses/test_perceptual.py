import hashlib
from collections import OrderedDict

import pytest
import torch
from torch.autograd import gradcheck

from toolbox.errors import UserError
from toolbox.models.losses import PerceptualLoss, VGG16Features, load_vgg16, perceptual_map, synthesise_reference
from toolbox.structures import DepthPrediction, MultiViewBatch


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A state dict named as torchvision's ``vgg16``, with later layers in it; random, of unit gain."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    state = OrderedDict()
    widths = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
    for index, (before, after) in widths.items():
        state[f"features.{index}.weight"] = torch.randn(after, before, 3, 3) * (2 / (9 * before)) ** 0.5
        state[f"features.{index}.bias"] = torch.randn(after) * 0.01
    state["features.17.weight"], state["classifier.0.bias"] = torch.rand(512, 256, 3, 3), torch.rand(4096)
    torch.save(state, path)
    return path


def test_published_names_and_layers(weights):
    network = load_vgg16(weights)
    state = torch.load(weights, weights_only=True)
    assert torch.equal(network.features[14].weight, state["features.14.weight"])
    assert not any(p.requires_grad for p in network.parameters())
    outputs = network(torch.rand(2, 3, 22, 32))
    assert [tuple(o.shape) for o in outputs] == [(2, 64, 22, 32), (2, 128, 11, 16), (2, 256, 5, 8)]
    assert all((o >= 0).all() and (o > 0).any() for o in outputs)


def test_a_minimum_at_the_true_depth(plane, weights):
    loss = PerceptualLoss(weights, level_weights=(1.0, 0.5))
    with torch.no_grad():
        values = {scale: loss(*plane.problem(levels=2, scale=scale)).item() for scale in (0.93, 1.0, 1.07)}
    assert min(values[0.93], values[1.07]) > 1.5 * values[1.0]


def test_gradient(small_plane):
    network = VGG16Features().double().requires_grad_(False)
    depth = (small_plane.depth()[None] * (1.05 + 0.1 * torch.rand(1, 8, 10).double())).requires_grad_()

    def error(depth):
        views = slice(0, 2)
        intrinsics, poses = small_plane.level_intrinsics()[:, views], small_plane.poses[None, views]
        values, valid = perceptual_map(small_plane.images()[:, views], depth, intrinsics, poses, network, k=1)
        return (values * valid).sum(dim=-1)

    assert gradcheck(error, (depth,))


def test_what_is_not_seen_never_contributes(plane, weights):
    prediction, batch = plane.problem(scale=1.05)
    loss = PerceptualLoss(weights, selection="mean")
    loss(prediction, batch).backward()
    _, valid = synthesise_reference(batch.images, prediction.depths[0], batch.intrinsics, batch.world_to_cam)
    gradient = prediction.depths[0].grad
    assert (gradient[~valid.any(dim=1)] == 0).all() and (gradient != 0).sum() > 1000


def test_no_valid_pixel_gives_zero_and_finite_gradients(plane, weights):
    prediction, batch = plane.problem()
    backwards = torch.diag(torch.tensor([-1.0, 1, -1, 1])).double()
    batch.world_to_cam[:, 1:] = backwards @ batch.world_to_cam[:, 1:]
    loss = PerceptualLoss(weights)(prediction, batch)
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(prediction.depths[0].grad).all()


def test_first_sources_only(plane, weights):
    prediction, batch = plane.problem(scale=1.05)
    fewer = MultiViewBatch(batch.images[:, :2], batch.intrinsics[:, :2], batch.world_to_cam[:, :2], batch.depth_range)
    cut = DepthPrediction(prediction.depths, [level[:, :2] for level in prediction.intrinsics], prediction.confidence)
    with torch.no_grad():
        expected = PerceptualLoss(weights)(cut, fewer)
        torch.testing.assert_close(PerceptualLoss(weights, num_sources=1)(prediction, batch), expected)


def test_missing_or_wrong_weights_are_named(tmp_path):
    with pytest.raises(UserError, match=r"weights=None.*vgg16-397923af\.pth"):
        PerceptualLoss()
    with pytest.raises(UserError, match=r"absent\.pth.*no file.*vgg16-397923af\.pth"):
        PerceptualLoss(tmp_path / "absent.pth")
    torch.save({"features.0.weight": torch.rand(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: is no VGG-16: 13 weights are missing.*features\.0\.bias"):
        PerceptualLoss(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match=r"text\.pth: .*cannot be read"):
        PerceptualLoss(tmp_path / "text.pth")


def test_weights_may_be_given_by_their_address(tmp_path, weights, monkeypatch):
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    published, spoilt = tmp_path / f"vgg16-{digest[:8]}.pth", tmp_path / "vgg16-397923af.pth"
    for path in (published, spoilt):
        path.write_bytes(weights.read_bytes())
    expected = torch.load(weights, weights_only=True)["features.14.weight"]
    assert torch.equal(load_vgg16(published.as_uri()).features[14].weight, expected)
    published.unlink()
    assert torch.equal(load_vgg16(published.as_uri()).features[14].weight, expected)
    with pytest.raises(UserError, match=r"invalid hash value.*download\.pytorch\.org/models/vgg16-397923af\.pth"):
        load_vgg16(spoilt.as_uri())
    with pytest.raises(UserError, match=r"absent\.pth: cannot be downloaded.*vgg16-397923af\.pth"):
        load_vgg16("file:///nowhere/absent.pth")
