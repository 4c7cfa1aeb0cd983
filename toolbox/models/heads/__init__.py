"""Features -> what they mean.

A head of voxels gets ``channels`` (of every level, finest first) and maps features of one level to a number a voxel.
Any other head of a ``VolumetricReconstructor`` gets ``encoder_channels`` and is called with ``(prediction, batch)``
where losses are computed; what it returns is found under its name in ``prediction.outputs``.
"""

from .voxel_heads import OccupancyHead, TSDFHead

__all__ = ["OccupancyHead", "TSDFHead"]
