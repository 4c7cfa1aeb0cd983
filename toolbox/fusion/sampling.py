"""Maps at many positions: by OpenCV and numpy on the CPU, where they take a fraction of PyTorch's time."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor


def indices_of(mask: Bool[Tensor, "*n"]) -> Int64[Tensor, " m"]:
    """Where a flattened mask is true."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero()[:, 0]


def sample_bilinear(
    values: Float[Tensor, "h w"], x: Float[Tensor, " n"], y: Float[Tensor, " n"], out: Float[Tensor, " n"]
) -> None:
    """Values at positions in pixels, at most 32766 of them; 0 outside, and between the two on the border."""
    if values.device.type == "cpu":
        cv2.remap(values.numpy(), x.numpy()[None], y.numpy()[None], cv2.INTER_LINEAR, dst=out.numpy()[None])
        return
    height, width = values.shape
    position = torch.stack((x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1), dim=-1)
    out.copy_(F.grid_sample(values[None, None], position[None, None], align_corners=True)[0, 0, 0])


def sample_nearest(
    values: Shaped[Tensor, "h w *c"], x: Float[Tensor, "m n"], y: Float[Tensor, "m n"]
) -> Shaped[Tensor, "m n *c"]:
    """Values of the pixels nearest to positions (halves to the even one); 0 outside. Both axes are under 32767."""
    if values.device.type == "cpu":
        return torch.from_numpy(cv2.remap(values.numpy(), x.numpy(), y.numpy(), cv2.INTER_NEAREST))
    height, width = values.shape[:2]
    column, row = x.round(), y.round()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = torch.where(inside, row * width + column, torch.zeros_like(row)).long()
    found = values.flatten(0, 1)[index]
    return found * inside.reshape(*inside.shape, *[1] * (found.dim() - 2))
