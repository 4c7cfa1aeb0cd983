"""Procedural scenes with exact depth: tabletops in the layout of DTU, furnished rooms in that of ScanNet.

The model of a scene (``model``, ``tabletop``), the cameras (``rigs``), the renderer (``render``, ``sensor``) and the
writers of each layout know each other only in that order.
"""

from .preview import Tabletop, render_tabletop

__all__ = ["Tabletop", "render_tabletop"]
