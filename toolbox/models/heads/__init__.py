"""Features -> what they mean.

A head of voxels gets ``channels`` (of every level, finest first) and maps features of one level to a number a voxel.
Any other head of a ``VolumetricReconstructor`` gets ``encoder_channels`` and is called with ``(prediction, batch)``
where losses are computed and one of them has its name as ``output``; what it returns is found under that name in
``prediction.outputs``.
"""

from .mpi import MPIHead, calibrated_scale, render_pair
from .mpi_decoder import MPIDecoder, embed_position
from .voxel_heads import OccupancyHead, TSDFHead

__all__ = [
    "MPIDecoder",
    "MPIHead",
    "OccupancyHead",
    "TSDFHead",
    "calibrated_scale",
    "embed_position",
    "render_pair",
]
