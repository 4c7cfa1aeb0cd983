"""Augmentation of samples: called with the sample dict of ``MVSDataset``, each returns it changed."""

from .colour import ColourJitter

__all__ = ["ColourJitter"]
