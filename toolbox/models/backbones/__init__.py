"""Image -> feature pyramid.

A backbone maps images (N, 3, H, W) and a number of levels to features (N, C, h, w), finest first, and tells

- ``out_channels``: of every level;
- ``finest_stride``: image pixels per feature pixel of the finest level (it doubles from level to level);
- ``half_pixel``: whether a feature pixel stands for the middle of the image pixels it covers (resized images), or for
  the first of them (strided convolutions).
"""

from .mvsnet_features import MVSNetFeatures
from .pyramid_features import PyramidFeatures

__all__ = ["MVSNetFeatures", "PyramidFeatures"]
