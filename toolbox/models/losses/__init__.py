"""Losses: called with (prediction, batch), each returns one scalar; its functional twin returns a map and a mask."""

from .supervised import SupervisedDepthLoss, depth_error_map

__all__ = ["SupervisedDepthLoss", "depth_error_map"]
