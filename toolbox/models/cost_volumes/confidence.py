"""Probabilities of hypotheses -> confidence."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.registry import COST_VOLUMES


@COST_VOLUMES.register_module()
class WindowConfidence(nn.Module):
    """Probability of the four hypotheses around the expected one (MVSNet, section 3.3).

    With i the expected index, rounded down: p[i-1] + p[i] + p[i+1] + p[i+2], zeros outside.
    """

    def forward(self, probabilities: Float[Tensor, "b d h w"]) -> Float[Tensor, "b h w"]:
        """Confidence in [0, 1]."""
        planes = probabilities.shape[1]
        index = torch.arange(planes, dtype=probabilities.dtype, device=probabilities.device)
        expected = (probabilities * index[None, :, None, None]).sum(dim=1, keepdim=True).long().clamp(0, planes - 1)
        padded = F.pad(probabilities, (0, 0, 0, 0, 1, 2))
        windows = sum(padded[:, k : k + planes] for k in range(4))
        return windows.gather(1, expected)[:, 0].clamp(max=1)
