"""What flows between the rooms: scenes and views, batches, predictions."""

from .batch import DepthPrediction, MultiViewBatch
from .scene import LeftOut, Scene, SparsePoints, View

__all__ = ["DepthPrediction", "LeftOut", "MultiViewBatch", "Scene", "SparsePoints", "View"]
