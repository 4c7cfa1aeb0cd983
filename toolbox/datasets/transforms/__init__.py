"""Changes of samples: called with the sample dict of a data set, each returns it changed."""

from .colour import ColourJitter
from .superpixels import Superpixels, felzenszwalb_segments

__all__ = ["ColourJitter", "Superpixels", "felzenszwalb_segments"]
