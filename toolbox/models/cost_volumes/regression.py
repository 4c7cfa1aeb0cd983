"""Probabilities of hypotheses -> depth."""

from jaxtyping import Float
from torch import Tensor, nn

from toolbox.registry import COST_VOLUMES


@COST_VOLUMES.register_module()
class SoftArgmin(nn.Module):
    """Expected depth under the hypotheses' probabilities (GC-Net; MVSNet, equation 3)."""

    def forward(
        self, probabilities: Float[Tensor, "b d h w"], hypotheses: Float[Tensor, "b d h w"]
    ) -> Float[Tensor, "b h w"]:
        """Sum of probability times hypothesis, in the hypotheses' unit."""
        return (probabilities.to(hypotheses.dtype) * hypotheses).sum(dim=1)
