"""Photometric augmentation."""

from typing import Any

import torch

from toolbox.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ColourJitter:
    """Random gamma, contrast, brightness and white balance of each view on its own, as real exposures differ.

    Args:
        gamma: exponents are drawn from exp(+-gamma).
        contrast: factors around the mean are drawn from exp(+-contrast).
        brightness: offsets are drawn from +-brightness.
        balance: factors per channel are drawn from exp(+-balance).
    """

    def __init__(self, gamma: float = 0.15, contrast: float = 0.15, brightness: float = 0.05, balance: float = 0.05):
        self.gamma, self.contrast, self.brightness, self.balance = gamma, contrast, brightness, balance

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Images (V, 3, H, W) uint8 -> float in [0, 1], changed."""
        images = sample["images"].float() / 255
        views = images.shape[0]

        def draw(extent: float, channels: int = 1) -> torch.Tensor:
            return (torch.rand(views, channels, 1, 1) * 2 - 1) * extent

        images = images ** draw(self.gamma).exp() * draw(self.balance, channels=3).exp()
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - mean) * draw(self.contrast).exp() + mean + draw(self.brightness)
        return {**sample, "images": images.clamp(0, 1)}
