"""Image features in voxels: published outputs, what a voxel sees, chunks, few voxels."""

import pytest
import torch

from toolbox.engine.volumetric_names import view_attention_names
from toolbox.models.necks import AttentionViewFusion, BackProjection, MeanViewFusion, count_views, image_positions
from toolbox.registry import NECKS

PUBLISHED = {"type": "AttentionViewFusion", "published_double_division": True}


@pytest.fixture(scope="module")
def goldens(shared):
    return torch.load(shared / "golden/msr/back_project.pt", weights_only=True)


def published_module(case: dict, **settings) -> BackProjection:
    module = NECKS.build(
        {"type": "BackProjection", "channels": case["emb_dim"], "view_fusion": PUBLISHED, "published_depth_norm": True}
        | settings
    )
    names = view_attention_names()
    module.view_fusion.load_state_dict({names[name]: value for name, value in case["transformer"].items()})
    return module.eval()


def of_sample(case: dict, sample: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    own = case["coords"][:, 0] == sample
    points = case["coords"][own, 1:] * case["voxel_size"] + case["origin"][sample]
    return own, points, case["feats"][:, sample], case["KRcam"][:, sample, :3]


@pytest.mark.parametrize("name", ["c64_v7", "c32_v9", "c64_v5_b2"])
def test_published_outputs(goldens, name):
    case = goldens[name]
    module = published_module(case)
    # The published program fills the first sample of a batch alone.
    own, *inputs = of_sample(case, 0)
    assert not case["volume"][~own].any()
    with torch.no_grad():
        volume, count = module(*inputs)
    assert torch.equal(count, case["count"][own].long())
    assert (volume - case["volume"][own]).abs().max() <= 1e-5 * case["volume"].abs().max()
    with torch.no_grad():
        attended = module.view_fusion.attend(case["attn_x"], case["attn_valid"].T)
    seen = case["attn_valid"].T
    assert (attended - case["attn_y"])[seen].abs().max() <= 1e-5 * case["attn_y"].abs().max()


def test_the_default_is_a_mean_and_a_standard_deviation(goldens):
    _, *inputs = of_sample(goldens["c64_v7"], 0)
    once, count = BackProjection(64)(*inputs)
    twice, _ = BackProjection(64, {"published_double_division": True}, published_depth_norm=True)(*inputs)
    torch.testing.assert_close(once[:, :64], twice[:, :64] * count.clamp(min=1)[:, None])
    seen = once[count > 0, 64]
    assert abs(seen.mean()) < 1e-4
    assert abs(seen.std(correction=0) - 1) < 1e-3
    assert not once[count == 0].any()


def test_chunks_change_neither_outputs_nor_gradients(goldens):
    case = goldens["c32_v9"]
    points, feats, projections = (values.double() for values in of_sample(case, 0)[1:])
    results = []
    for chunk_size in (5000, 97):
        module = published_module(case, chunk_size=chunk_size).double()
        views = feats.clone().requires_grad_()
        out, _ = module(points, views, projections)
        out.square().sum().backward()
        results.append((out, views.grad, module.view_fusion.layers[0].qkv.weight.grad))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(whole, chunked)


def test_a_voxel_is_seen_between_the_outermost_pixels_and_in_front():
    camera = torch.tensor([[20.0, 0, 7, 0], [0, 25, 5, 0], [0, 0, 1, 0]])[None]
    pixels = torch.tensor([[0.0, 0], [14, 11], [14.1, 5], [7, -0.1], [7, 5]])
    depths = torch.tensor([2.0, 3, 2, 2, -2])
    rays = torch.stack(((pixels[:, 0] - 7) / 20, (pixels[:, 1] - 5) / 25, torch.ones(5)), dim=1)
    xy, depth, seen = image_positions(rays * depths[:, None], camera, (12, 15))
    assert seen[0].tolist() == [True, True, False, False, False]
    torch.testing.assert_close(xy[0, :4], pixels[:4])
    torch.testing.assert_close(depth[0], depths)
    assert count_views(rays * depths[:, None], camera.expand(3, 3, 4), (12, 15)).tolist() == [3, 3, 0, 0, 0]


@pytest.mark.parametrize("fusion", ["MeanViewFusion", "AttentionViewFusion"])
@pytest.mark.parametrize("num", [0, 1])
def test_few_voxels(fusion, num):
    module = BackProjection(4, {"type": fusion})
    feats = torch.rand(3, 4, 6, 8, requires_grad=True)
    projections = torch.eye(3, 4).expand(3, 3, 4)
    out, count = module(torch.tensor([[2.0, 3.0, 1.0]])[:num], feats, projections)
    assert out.shape == (num, 5)
    assert count.tolist() == [3] * num
    out.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


def test_unseen_views_have_no_say():
    fusion, feats = AttentionViewFusion(4), torch.randn(3, 5, 4)
    valid = torch.tensor([[True] * 5, [True, False, True, False, False], [False] * 5])
    changed = torch.where(valid[..., None], feats, feats + 7)
    torch.testing.assert_close(fusion(feats, valid), fusion(changed, valid))
    torch.testing.assert_close(MeanViewFusion(4)(feats, valid)[1], feats[0, 1])


@pytest.mark.parametrize("fusion", ["MeanViewFusion", "AttentionViewFusion"])
def test_variance_tells_whether_the_views_that_see_a_voxel_agree(fusion):
    module, feats = NECKS.build({"type": fusion, "channels": 4, "variance": True}), torch.randn(3, 5, 4)
    valid = torch.tensor([[True] * 5, [True, False, True, False, False], [True, True, False, False, False]])
    feats[:, 2] = feats[0, 2]  # all agree
    out = module(feats, valid)
    assert out.shape == (5, module.out_channels) == (5, 8)
    plain = NECKS.build({"type": fusion, "channels": 4})
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(out[:, :4], plain(feats, valid))
    torch.testing.assert_close(out[0, 4:], feats[:, 0].var(dim=0, correction=0))
    torch.testing.assert_close(out[1, 4:], feats[[0, 2], 1].var(dim=0, correction=0))
    assert not out[2:, 4:].abs().gt(1e-12).any()
    projection = BackProjection(4, {"type": fusion, "variance": True})
    lifted, _ = projection(torch.rand(6, 3), torch.rand(3, 4, 6, 8), torch.eye(3, 4).expand(3, 3, 4))
    assert lifted.shape == (6, projection.out_channels) == (6, 9)
