"""Cost volumes: the head that runs over the levels, and the parts it is made of, each registered on its own."""

from .aggregators import GroupCorrelation, Variance, WithReference
from .confidence import WindowConfidence
from .hypotheses import FixedInterval, PixelInterval, UniformDepth, UniformInverseDepth
from .level import LevelGeometry
from .pyramid_head import CostVolumePyramid
from .regression import SoftArgmin
from .regularizers import HourglassRegularizer, UNetRegularizer
from .warper import PlaneSweepWarper

__all__ = [
    "CostVolumePyramid",
    "FixedInterval",
    "GroupCorrelation",
    "HourglassRegularizer",
    "LevelGeometry",
    "PixelInterval",
    "PlaneSweepWarper",
    "SoftArgmin",
    "UNetRegularizer",
    "UniformDepth",
    "UniformInverseDepth",
    "Variance",
    "WindowConfidence",
    "WithReference",
]
