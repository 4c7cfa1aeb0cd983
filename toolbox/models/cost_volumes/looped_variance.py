"""Variance over swept sources on a CPU by loops that Numba compiles: nothing is kept of sampled features."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.compiled.run import run

from .variance_loops import variance
from .warper import SweptSources, WarpedView


def suits_loops(reference: Float[Tensor, "b c h w"], warped: Iterable[WarpedView]) -> bool:
    """Whether it can be computed so: in single precision, without gradients, of sources that are alike."""
    if torch.is_grad_enabled() or not isinstance(warped, SweptSources) or reference.device.type != "cpu":
        return False
    return reference.dtype == warped.depth.dtype == warped.dtype == torch.float32 and warped.alike


def looped_variance(
    reference: Float[Tensor, "b c h w"], swept: SweptSources, valid_only: bool, aliasing: bool
) -> Float[Tensor, "b c d h w"]:
    """What ``Variance`` computes, channels last; see ``suits_loops``."""
    batch, channels, height, width = reference.shape
    volume = reference.new_empty(batch, swept.depth.shape[1], height, width, channels)
    sources = [sweep.pixels for sweep in swept.sweeps]
    arrays = volume, reference.permute(0, 2, 3, 1), swept.depth
    run(
        variance(channels),
        *(array.detach().contiguous().numpy() for array in arrays),
        np.array([source.data_ptr() for source in sources]),
        swept.cameras().numpy(),
        np.array(swept.corner),
        np.array(swept.sweeps[0].size),
        valid_only,
        swept.sweeps[0].keep_behind,
        aliasing,
    )
    return volume.permute(0, 4, 1, 2, 3)
