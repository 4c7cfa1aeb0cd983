"""From linear radiance to a photograph: lens blur, vignetting, exposure, noise, tone curve."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_LEVELS = 4096


def _tone_curve() -> UInt8[np.ndarray, " n"]:
    """sRGB's curve by 12-bit level."""
    level = np.linspace(0, 1, _LEVELS)
    encoded = np.where(level <= 0.0031308, 12.92 * level, 1.055 * level ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


_CURVE = _tone_curve()


def tone(linear: Float32[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """Linear RGB in [0, 1] as sRGB bytes; clipped beyond."""
    return _CURVE[np.clip(linear * (_LEVELS - 1) + 0.5, 0, _LEVELS - 1).astype(np.int32)]


@dataclass(frozen=True)
class Sensor:
    """A camera's imperfections.

    Attributes:
        exposure_spread: deviation of the logarithm of an image's exposure.
        balance_spread: deviation of the logarithm of a channel's gain.
        shot_noise: variance of the noise over the signal.
        read_noise: deviation of the noise in the dark.
        blur: deviation of the lens blur in pixels.
        vignetting: loss of light in the corners.
    """

    exposure_spread: float = 0.06
    balance_spread: float = 0.012
    shot_noise: float = 1.2e-4
    read_noise: float = 1.5e-3
    blur: float = 0.45
    vignetting: float = 0.08

    def photograph(
        self, radiance: Float32[np.ndarray, "h w 3"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "h w 3"]:
        """An RGB image of the radiance, where 1 is the white of an 18 %-grey-metered exposure."""
        height, width = radiance.shape[:2]
        gain = np.exp(rng.normal(0, self.exposure_spread) + rng.normal(0, self.balance_spread, 3))
        image = cv2.GaussianBlur(radiance, (3, 3), self.blur) if self.blur > 0 else radiance
        y = (2 * np.arange(height, dtype=np.float32) / max(height - 1, 1) - 1)[:, None] ** 2
        x = (2 * np.arange(width, dtype=np.float32) / max(width - 1, 1) - 1) ** 2
        light = (1 - np.float32(self.vignetting / 2) * (x + y))[:, :, None]
        image = image * (light * gain.astype(np.float32))
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image += noise * np.sqrt(np.float32(self.shot_noise) * image + np.float32(self.read_noise**2))
        return tone(image)
