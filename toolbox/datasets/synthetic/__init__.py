"""Procedural scenes with exact depth: tabletops in the layout of DTU, furnished rooms in that of ScanNet.

The model of a scene (``model``, ``tabletop``, ``room``), the cameras (``rigs``), the renderer (``render``, ``sensor``)
and the writers of each layout (``dtu``, ``scannet``) are separate; each knows only those before it.
"""

from .dtu import make_dtu_scenes
from .preview import Tabletop, render_tabletop
from .scannet import make_scannet_scenes

__all__ = ["Tabletop", "make_dtu_scenes", "make_scannet_scenes", "render_tabletop"]
