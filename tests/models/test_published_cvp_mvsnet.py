"""The official configuration gives the published outputs (tolerances: golden/README.md)."""

import pytest
import torch
import torch.nn.functional as F

from toolbox.engine.checkpoint_conversion import cvp_mvsnet_names
from toolbox.models.cost_volumes.level import LevelGeometry, level_intrinsics
from toolbox.models.losses import depth_error_map


def ours(published: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of some of the weights, under our names."""
    names = cvp_mvsnet_names()
    return {names[name]: value for name, value in published.items()}


def test_features(golden_small):
    model, batch = golden_small.model().eval(), golden_small.batch()
    intermediates = golden_small.data["intermediates"]
    expected = [intermediates["ref_feature_pyramid"], *intermediates["src_feature_pyramids"]]
    for view, pyramid in enumerate(expected):
        with torch.no_grad():
            features = model.extract_features(batch.images[:, view], 2)
        for level, wanted in zip(features, pyramid, strict=True):
            assert (level - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_hypotheses(golden_small):
    model, intermediates = golden_small.model().eval(), golden_small.data["intermediates"]
    with torch.no_grad():
        details = model.predict_depth(golden_small.batch(), keep_details=True)
    coarse, fine = details.hypotheses[1], details.hypotheses[0]
    assert (coarse[:, :, 0, 0] - intermediates["sweep_hypos"]).abs().max() <= 1e-4
    assert (fine - intermediates["refine_hypos"][0]).abs().max() <= 3e-2
    interval = fine[0, 1] - fine[0, 0]
    assert interval.mean().item() == pytest.approx(intermediates["refine_interval"][0].item(), rel=1e-5)


def test_cost_volumes(golden_small):
    model, batch = golden_small.model().eval(), golden_small.batch()
    head, intermediates = model.head, golden_small.data["intermediates"]
    hypotheses = {
        1: intermediates["sweep_hypos"][:, :, None, None].expand(-1, -1, 48, 64),
        0: intermediates["refine_hypos"][0],
    }
    expected = {
        1: (intermediates["coarse_cost_volume_sub"], intermediates["coarse_cost_volume_planes"]),
        0: (intermediates["refine_cost_volume_sub"][0], intermediates["refine_cost_volume_planes"]),
    }
    pyramids = [intermediates["ref_feature_pyramid"], *intermediates["src_feature_pyramids"]]
    for level, (wanted, planes) in expected.items():
        size = tuple(pyramids[0][level].shape[-2:])
        scaled = level_intrinsics(batch.intrinsics, (96, 128), size, half_pixel=True, published=True)
        geometry = LevelGeometry(scaled, batch.world_to_cam, batch.depth_range, size)
        warped = (head.warper(pyramids[v][level], hypotheses[level], geometry, v) for v in (1, 2))
        volume = head.aggregator(pyramids[0][level], warped)[:, :, planes]
        assert (volume - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize(("name", "tolerance"), [("golden_small", 3e-2), ("golden_3scale", 0.1)])
def test_depth_and_confidence(name, tolerance, request):
    golden = request.getfixturevalue(name)
    with torch.no_grad():
        prediction = golden.model().eval().predict_depth(golden.batch())
    outputs = golden.data["outputs"]
    for depth, wanted in zip(prediction.depths, outputs["depth_est_list"], strict=True):
        assert (depth - wanted).abs().max() <= tolerance
    assert (prediction.confidence - outputs["prob_confidence"]).abs().max() <= 1e-3


def test_training_step(golden_training):
    """Loss, gradients, BatchNorm statistics and the Adam step, with the golden targets of both levels."""
    data = golden_training.data
    model = golden_training.model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999))
    prediction = model.predict_depth(golden_training.batch())
    targets = (data["ref_depths"][:, 0], data["ref_depths"][:, 1, :32, :40])
    loss = torch.zeros(())
    for depth, target, wanted in zip(prediction.depths, targets, data["loss_per_scale"], strict=True):
        error, known = depth_error_map(depth, target, min_depth=425.0)
        loss = loss + error[known].mean()
        assert error[known].mean().item() == pytest.approx(wanted.item(), rel=5e-4)
    assert loss.item() == pytest.approx(data["loss"].item(), rel=5e-4)

    loss.backward()
    parameters = dict(model.named_parameters())
    for name, wanted in ours(data["grads"]).items():
        if name == "head.regularizer.prob0.bias":
            continue  # noise: a constant added to all scores changes nothing
        tight = "prob0" in name or "conv6" in name
        relative = ((parameters[name].grad - wanted).norm() / wanted.norm()).item()
        assert relative <= (1e-3 if tight else 3e-2), name

    optimizer.step()
    buffers = dict(model.named_buffers())
    for name, wanted in ours(data["bn_after"]).items():
        torch.testing.assert_close(buffers[name], wanted, rtol=1e-3, atol=1e-5)
    for name, wanted in ours(data["params_after_adam"]).items():
        assert F.cosine_similarity(parameters[name].flatten(), wanted.flatten(), dim=0) > 0.9999


def test_corrected_numerics_differ(golden_small):
    """Every published option changes the outputs: the corrected default is another network."""
    batch = golden_small.batch()
    with torch.no_grad():
        published = golden_small.model().eval().predict_depth(batch).depths[0]
        for switch_off in (
            lambda head: setattr(head, "published_intrinsics", False),
            lambda head: setattr(head.warper, "published_sampling", False),
            lambda head: setattr(head.aggregator, "published_aliasing", False),
            lambda head: setattr(head.fine_hypotheses, "published_interval", False),
        ):
            model = golden_small.model().eval()
            switch_off(model.head)
            assert (model.predict_depth(batch).depths[0] - published).abs().max() > 0.5
