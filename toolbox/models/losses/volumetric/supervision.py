"""Weak supervision: a volume against known signed distances (NeuralRecon; MonoSelfRecon's weak variant)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolbox.errors import UserError
from toolbox.models.losses.multi_level import masked_mean
from toolbox.registry import LOSSES
from toolbox.structures import FragmentBatch, SparseTSDF, VolumetricPrediction

from .level_loss import PUBLISHED_LEVEL_WEIGHTS, VolumetricLoss


def log_transform(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sign(x) log(|x| + 1): small distances weigh more than large ones."""
    return values.sign() * (values.abs() + 1).log()


def tsdf_error_map(
    tsdf: Float[Tensor, " n"], truth: Float[Tensor, " n"], occupied: Bool[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """L1 between the ``log_transform`` of prediction and truth, valid where the truth is occupied.

    Args:
        tsdf, truth: in truncation distances.
    """
    return (log_transform(tsdf) - log_transform(truth)).abs(), occupied


def occupancy_error_map(
    logits: Float[Tensor, " n"],
    occupied: Bool[Tensor, " n"],
    supervised: Bool[Tensor, " n"],
    pos_weight: float = 1.5,
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """Binary cross-entropy; occupied voxels weigh pos_weight (n - p) / p, of n supervised and p occupied ones.

    Valid where supervised; nowhere if none of these is occupied.
    """
    positive = (occupied & supervised).sum()
    ratio = pos_weight * (supervised.sum() - positive) / positive.clamp(min=1)
    error = F.binary_cross_entropy_with_logits(
        logits, occupied.to(logits.dtype), pos_weight=ratio.to(logits.dtype), reduction="none"
    )
    return error, supervised & (positive > 0)


def occupancy_truth(volume: SparseTSDF, batch: FragmentBatch, level: int) -> Bool[Tensor, " n"]:
    """Which voxels are occupied: by the fragment's truth, or by the TSDF where a memory of other fragments joins in."""
    if volume.with_previous and volume.truth is not None:
        return volume.truth.abs() < 1
    if batch.occupancy is None:
        raise _no_truth()
    return _at_voxels(batch.occupancy[level], volume)


def _tsdf_truth(volume: SparseTSDF, batch: FragmentBatch, level: int) -> Float[Tensor, " n"]:
    if volume.truth is not None:
        return volume.truth.to(volume.tsdf.dtype)
    if batch.tsdf is None:
        raise _no_truth()
    return _at_voxels(batch.tsdf[level], volume).to(volume.tsdf.dtype)


def _at_voxels(dense: Tensor, volume: SparseTSDF) -> Tensor:
    """Values of a (b, x, y, z) volume; False or 0 outside it."""
    sample, cell = volume.coords[:, 0].long(), _cells(volume)
    size = torch.tensor(dense.shape[1:], device=cell.device)
    inside = ((cell >= 0) & (cell < size)).all(dim=1)
    x, y, z = cell.clamp(min=0).minimum(size - 1).unbind(dim=1)
    values = dense[sample, x, y, z]
    return torch.where(inside, values, torch.zeros_like(values))


def _cells(volume: SparseTSDF) -> Int64[Tensor, "n 3"]:
    return volume.coords[:, 1:].long() // volume.stride


def _no_truth() -> UserError:
    return UserError(
        "WeakSupervisionLoss", "the batch has no TSDF", "Set read_tsdf=True of the data set, or leave the loss out"
    )


@LOSSES.register_module()
class WeakSupervisionLoss(VolumetricLoss):
    """TSDF and occupancy against the truth, over the supervised voxels of each level.

    weight * sum over the levels of level_weight * (mean of ``occupancy_error_map`` + mean of ``tsdf_error_map``), the
    mean of the samples.

    Args:
        pos_weight: see ``occupancy_error_map``.
        occupancy: take the occupancy term, which needs an occupancy head.
        tsdf: take the TSDF term.
        published_bce_only: the published weak variant: cross-entropy alone, whatever ``tsdf`` says.
        weight, level_weights: see ``VolumetricLoss``; NeuralRecon's level weights are (0.64, 0.8, 1).
    """

    def __init__(
        self,
        pos_weight: float = 1.5,
        occupancy: bool = True,
        tsdf: bool = True,
        published_bce_only: bool = False,
        weight: float = 1.0,
        level_weights: Sequence[float] | None = PUBLISHED_LEVEL_WEIGHTS,
    ):
        super().__init__(weight, level_weights)
        self.pos_weight, self.occupancy = pos_weight, occupancy
        self.tsdf = tsdf and not published_bce_only
        if not (self.occupancy or self.tsdf):
            raise UserError("WeakSupervisionLoss", "both of its terms are off", "Leave one on, or leave the loss out")

    def level_loss(self, prediction: VolumetricPrediction, batch: FragmentBatch, level: int) -> Float[Tensor, ""]:
        """The sum of the terms on one level.

        Raises:
            UserError: the batch has no truth, or the network no occupancy head.
        """
        volume = prediction.levels[level]
        if volume.supervised is not None:
            volume = volume.select(volume.supervised)
        samples = range(len(batch.origin))
        return sum(self._sample_loss(volume.of_sample(i), batch, level) for i in samples) / len(samples)

    def _sample_loss(self, volume: SparseTSDF, batch: FragmentBatch, level: int) -> Float[Tensor, ""]:
        everywhere = torch.ones_like(volume.tsdf, dtype=torch.bool)
        occupied = occupancy_truth(volume, batch, level)
        total = volume.tsdf.new_zeros(())
        if self.occupancy:
            if volume.occupancy is None:
                raise UserError(
                    "WeakSupervisionLoss(occupancy=True)",
                    "the network predicts no occupancy",
                    "Give it an occupancy head, or set occupancy=False",
                )
            total = total + masked_mean(*occupancy_error_map(volume.occupancy, occupied, everywhere, self.pos_weight))
        if self.tsdf:
            total = total + masked_mean(*tsdf_error_map(volume.tsdf, _tsdf_truth(volume, batch, level), occupied))
        return total
