"""Clouds and meshes as PLY files that say how they were made."""

from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.io import read_ply, write_ply

from .cloud import PointCloud
from .mesh import TriangleMesh
from .recipe import FusionRecipe


def _comments(recipe: FusionRecipe | None) -> tuple[str, ...]:
    return () if recipe is None else (f"fusion recipe: {recipe.describe()}",)


def write_cloud(path: str | Path, cloud: PointCloud, recipe: FusionRecipe | None = None) -> None:
    """Write a cloud with its colours and normals as PLY, atomically; the recipe goes into its header."""
    write_ply(path, cloud.xyz, cloud.rgb, cloud.normals, comments=_comments(recipe))


def read_cloud(path: str | Path, spacing: float | None = None) -> PointCloud:
    """A cloud as ``write_cloud`` wrote it; which view saw a point is not in the file (-1).

    Args:
        spacing: what the fusion measured, see ``PointCloud``.

    Raises:
        UserError: the file is missing, broken, or has no colours.
    """
    vertices = read_ply(path)
    if "red" not in vertices.dtype.names:
        raise UserError(path, "has points without colours", "Write it with write_cloud")

    def columns(*names: str) -> np.ndarray:
        return np.stack([vertices[name] for name in names], axis=1)

    normals = columns("nx", "ny", "nz") if "nx" in vertices.dtype.names else None
    view_id = np.full(len(vertices), -1, np.int32)
    return PointCloud(columns("x", "y", "z"), columns("red", "green", "blue"), view_id, normals, spacing)


def write_mesh(path: str | Path, mesh: TriangleMesh, recipe: FusionRecipe | None = None) -> None:
    """Write a mesh with its colours as PLY, atomically; the recipe goes into its header."""
    write_ply(path, mesh.vertices, mesh.rgb, triangles=mesh.triangles, comments=_comments(recipe))
