"""A training step of a multi-view stereo network: forward, loss, backward."""

from typing import Any

import torch

from benchmarks.mvs_input import official_network, stereo_input
from benchmarks.plain_losses import unsupervised_loss
from benchmarks.plain_mvs import PlainMVSTraining
from benchmarks.work import Run, Work
from toolbox.structures import MultiViewBatch

_LEVELS = 2


class MVSTrainStep(Work):
    """CVP-MVSNet at the paper's size with the paper's loss or those of an unsupervised start; two levels, as it trains.

    Attributes:
        batch: ``MultiViewBatch``, the same views in each sample.
        model: the network.
    """

    sizes = {
        "tiny": {"samples": 2, "height": 32, "width": 48, "sources": 2},
        "small": {"samples": 2, "height": 96, "width": 128, "sources": 2},
        "user": {"samples": 4, "height": 128, "width": 160, "sources": 2},
        "unsupervised": {"samples": 4, "height": 128, "width": 160, "sources": 4, "unsupervised": 1},
    }
    reference_name = "plain PyTorch"
    growth = {
        "samples": {n: {"samples": n} for n in (1, 2, 4, 8)},
        "pixels": {h * w: {"height": h, "width": w} for h, w in ((64, 80), (96, 128), (144, 192))},
        "sources": {n: {"sources": n} for n in (1, 2, 4, 8)},
    }

    def __init__(
        self,
        device: str,
        samples: int,
        height: int,
        width: int,
        sources: int,
        unsupervised: int = 0,
        checkpoint_volumes: int = 0,
    ):
        views = stereo_input(sources + 1, height, width, device)

        def repeated(values: torch.Tensor) -> torch.Tensor:
            return values[None].expand(samples, *values.shape).contiguous()

        self.batch = MultiViewBatch(
            images=repeated(views.images),
            intrinsics=repeated(views.intrinsics),
            world_to_cam=repeated(views.world_to_cam),
            depth_range=repeated(views.depth_range),
            depth=repeated(views.depths[0]),
        )
        self.unsupervised = bool(unsupervised)
        self.model = official_network(device, _LEVELS, self.unsupervised).train()
        self.model.head.checkpoint_volumes = bool(checkpoint_volumes)

    def ours(self) -> Run:
        """``MultiViewStereo`` in mode 'loss', and backward."""

        def run() -> dict[str, Any]:
            self.model.zero_grad(set_to_none=True)
            loss = sum(self.model(self.batch, mode="loss").values())
            loss.backward()
            return {"loss": loss, "gradient": self.model.backbone.convs[0].conv.weight.grad}

        return run

    def reference(self) -> Run:
        """``PlainMVSTraining``, and backward."""
        names = [name for name, _ in self.model.named_parameters()]
        plain, batch = PlainMVSTraining(self.model.state_dict(), names, _LEVELS), self.batch
        unsupervised = self.unsupervised

        def run() -> dict[str, Any]:
            for weight in plain.weights.values():
                weight.grad = None
            inputs = batch.images, batch.intrinsics, batch.world_to_cam, batch.depth_range
            loss = unsupervised_loss(plain, *inputs) if unsupervised else plain.supervised_loss(inputs, batch.depth)
            loss.backward()
            return {"loss": loss, "gradient": plain.weights["backbone.convs.0.conv.weight"].grad}

        return run
