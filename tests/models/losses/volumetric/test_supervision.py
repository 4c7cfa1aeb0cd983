"""Weak supervision: published numbers, gradients, the truth as a minimum."""

from dataclasses import replace

import pytest
import torch

from toolbox.errors import UserError
from toolbox.models.losses.multi_level import masked_mean
from toolbox.models.losses.volumetric import WeakSupervisionLoss, log_transform, occupancy_error_map, tsdf_error_map
from toolbox.registry import LOSSES
from toolbox.structures import FragmentBatch, SparseTSDF, VolumetricPrediction


def test_log_transform_is_the_published_one(golden_losses):
    golden = golden_losses["log_transform"]
    torch.testing.assert_close(log_transform(golden["x"]), golden["y"])


@pytest.mark.parametrize("case", range(6))
def test_terms_are_the_published_ones(golden_losses, case):
    golden = golden_losses["compute_loss"][case]
    mask = golden["mask"] if golden["mask_given"] else torch.ones_like(golden["mask"])
    tsdf, logits = golden["tsdf"].requires_grad_(), golden["occ"].requires_grad_()
    occupied = golden["occ_target"] & mask
    occupancy = masked_mean(*occupancy_error_map(logits[:, 0], occupied, mask, golden["pos_weight"]))
    distance = masked_mean(*tsdf_error_map(tsdf[:, 0], golden["tsdf_target"], occupied))
    torch.testing.assert_close(occupancy + distance, golden["loss_occ_plus_tsdf"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(occupancy, golden["loss_gt_variant"], rtol=1e-5, atol=1e-7)
    (occupancy + distance).backward()
    torch.testing.assert_close(tsdf.grad, golden["grad_tsdf"], rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(logits.grad, golden["grad_occ"], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("fragment", [0, 1])
def test_whole_fragments_give_the_published_loss(published_fragments, fragment):
    prediction, batch, expected = published_fragments(fragment, "gt")
    loss = WeakSupervisionLoss(published_bce_only=True)
    for level in range(3):
        torch.testing.assert_close(
            loss.level_loss(prediction, batch, level), expected["scales"][str(level)]["gt_loss"], rtol=1e-4, atol=0
        )
    torch.testing.assert_close(loss(prediction, batch), expected["gt_loss"], rtol=1e-4, atol=0)


def volume_problem(samples: int = 2) -> tuple[VolumetricPrediction, FragmentBatch]:
    """All voxels of a small window at stride 2, TSDF and occupancy of a slanted plane; the truth is predicted."""
    cells = torch.cartesian_prod(torch.arange(samples), torch.arange(5), torch.arange(4), torch.arange(3)).int()
    x, y, z = cells[:, 1:].double().unbind(dim=1)
    distance = 0.4 * z + 0.2 * x - 0.1 * y - 0.7 + 0.1 * cells[:, 0]
    truth = distance.clamp(-1, 1)
    dense = truth.reshape(samples, 5, 4, 3)
    coords = torch.cat((cells[:, :1], cells[:, 1:] * 2), dim=1)
    logits = torch.where(truth.abs() < 1, 20.0, -20.0).double()
    order = torch.randperm(len(coords))
    level = SparseTSDF(coords, truth, 0.04, torch.zeros(samples, 3).double(), 2, occupancy=logits).select(order)
    batch = FragmentBatch(
        torch.zeros(samples, 1, 3, 4, 6),
        torch.eye(3).expand(samples, 1, 3, 3),
        torch.eye(4).expand(samples, 1, 4, 4),
        torch.zeros(samples, 3).double(),
        torch.eye(4).expand(samples, 4, 4),
        tsdf=[dense],
        occupancy=[dense.abs() < 1],
    )
    return VolumetricPrediction([level], level), batch


def test_the_truth_is_the_minimum():
    prediction, batch = volume_problem()
    loss = LOSSES.build({"type": "WeakSupervisionLoss", "level_weights": (1.0,)})
    assert loss(prediction, batch) < 1e-6
    level = prediction.levels[0]
    for wrong in (
        replace(level, tsdf=level.tsdf + 0.1),
        replace(level, tsdf=-level.tsdf),
        replace(level, occupancy=-level.occupancy),
    ):
        assert loss(VolumetricPrediction([wrong], wrong), batch) > 0.04


def test_unsupervised_voxels_do_not_count():
    prediction, batch = volume_problem()
    level = prediction.levels[0]
    wrong = torch.arange(len(level)) % 3 == 0
    level = replace(level, tsdf=torch.where(wrong, level.tsdf - 0.5, level.tsdf), supervised=~wrong)
    loss = WeakSupervisionLoss(level_weights=None)
    assert loss(VolumetricPrediction([level], level), batch) < 1e-6
    assert loss(VolumetricPrediction([replace(level, supervised=None)], level), batch) > 0.01


def test_truth_at_the_voxels_goes_before_the_window():
    """With a memory, voxels of earlier fragments have truth that the batch does not hold."""
    prediction, batch = volume_problem()
    level = replace(prediction.levels[0], truth=prediction.levels[0].tsdf, with_previous=True)
    unknown = replace(batch, tsdf=None, occupancy=None)
    assert WeakSupervisionLoss(level_weights=None)(VolumetricPrediction([level], level), unknown) < 1e-6


def test_gradients():
    truth = torch.randn(12).double()
    occupied = truth.abs() < 1
    values = torch.randn(12).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: tsdf_error_map(v, truth, occupied)[0], values)
    everywhere = torch.ones_like(occupied)
    assert torch.autograd.gradcheck(lambda v: occupancy_error_map(v, occupied, everywhere)[0], values)


def test_mistakes_are_named():
    prediction, batch = volume_problem()
    with pytest.raises(UserError, match="no TSDF"):
        WeakSupervisionLoss(level_weights=None)(prediction, replace(batch, tsdf=None, occupancy=None))
    level = replace(prediction.levels[0], occupancy=None)
    with pytest.raises(UserError, match="no occupancy"):
        WeakSupervisionLoss(level_weights=None)(VolumetricPrediction([level], level), batch)
    with pytest.raises(UserError, match="3 weights for a volume of 1"):
        WeakSupervisionLoss()(prediction, batch)
    with pytest.raises(UserError, match="both of its terms"):
        WeakSupervisionLoss(occupancy=False, published_bce_only=True)
