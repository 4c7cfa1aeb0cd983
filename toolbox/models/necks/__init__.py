"""Between image features and heads: from views to voxels, and networks on sparse voxels."""

from .back_projection import BackProjection, count_views, image_positions
from .coarse_to_fine import CoarseToFine
from .conv_gru import ConvGRU
from .gru_fusion import GRUFusion
from .sparsification import OccupancyThreshold, TSDFBand
from .spvcnn import SPVCNN
from .view_fusion import AttentionViewFusion, MeanViewFusion

__all__ = [
    "SPVCNN",
    "AttentionViewFusion",
    "BackProjection",
    "CoarseToFine",
    "ConvGRU",
    "GRUFusion",
    "MeanViewFusion",
    "OccupancyThreshold",
    "TSDFBand",
    "count_views",
    "image_positions",
]
