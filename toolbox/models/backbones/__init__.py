"""Image -> feature pyramid.

A backbone maps images (N, 3, H, W) and a number of levels to features (N, C, h, w), finest first, and tells

- ``out_channels``: of every level; or a tuple, finest first, where levels differ;
- ``finest_stride``: image pixels per feature pixel of the finest level (it doubles from level to level);
- ``half_pixel``: whether a feature pixel stands for the middle of the image pixels it covers (resized images), or for
  the first of them (strided convolutions).

Backbones of volumetric networks also have ``encode`` (images -> the encoder's features, of ``encoder_channels``) and
``decode`` (those -> the pyramid): heads that work in images use the encoder's features too.
"""

from .mnasnet_fpn import MnasNetFPN
from .mvsnet_features import MVSNetFeatures
from .pyramid_features import PyramidFeatures
from .resnet_fpn import ResNet18FPN

__all__ = ["MVSNetFeatures", "MnasNetFPN", "PyramidFeatures", "ResNet18FPN"]
