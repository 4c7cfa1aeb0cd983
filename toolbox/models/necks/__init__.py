"""Between image features and heads: networks on sparse voxels."""

from .spvcnn import SPVCNN

__all__ = ["SPVCNN"]
