"""A training step of a volumetric network: forward, losses, backward."""

from typing import Any

from benchmarks.volumetric_input import SIZES, monoselfrecon, room_fragment
from benchmarks.work import Run, Work


class VolumetricTrainStep(Work):
    """MonoSelfRecon's network at the paper's size with photometric and weak supervision, without memory.

    Attributes:
        batch: ``FragmentBatch``.
        model: the network.
    """

    sizes = SIZES

    def __init__(self, device: str, views: int, height: int, width: int, window: int):
        losses = {
            "photometric": {"type": "SDFConsistencyLoss"},
            "truth": {"type": "WeakSupervisionLoss", "occupancy": False},
        }
        self.batch = room_fragment(views, height, width, window, device)
        self.model = monoselfrecon(device, window, losses).train()

    def ours(self) -> Run:
        """``VolumetricReconstructor`` in mode 'loss', and backward."""

        def run() -> dict[str, Any]:
            self.model.zero_grad(set_to_none=True)
            losses = self.model(self.batch, mode="loss")
            sum(losses.values()).backward()
            return losses

        return run
