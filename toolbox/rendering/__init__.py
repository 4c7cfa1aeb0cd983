"""Mesh -> depth: renderers of one interface, with and without OpenGL."""

from .depth_renderer import DepthRenderer, read_mesh
from .pyrender_renderer import PyrenderRenderer
from .raycast_renderer import RaycastRenderer

__all__ = ["DepthRenderer", "PyrenderRenderer", "RaycastRenderer", "read_mesh"]
