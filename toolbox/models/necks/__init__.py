"""Between image features and heads: from views to voxels, and networks on sparse voxels."""

from .back_projection import BackProjection, count_views, image_positions
from .spvcnn import SPVCNN
from .view_fusion import AttentionViewFusion, MeanViewFusion

__all__ = ["SPVCNN", "AttentionViewFusion", "BackProjection", "MeanViewFusion", "count_views", "image_positions"]
