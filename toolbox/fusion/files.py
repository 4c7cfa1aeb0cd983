"""Clouds and meshes as PLY files that say how they were made."""

from pathlib import Path

from toolbox.io import write_ply

from .cloud import PointCloud
from .mesh import TriangleMesh
from .recipe import FusionRecipe


def _comments(recipe: FusionRecipe | None) -> tuple[str, ...]:
    return () if recipe is None else (f"fusion recipe: {recipe.describe()}",)


def write_cloud(path: str | Path, cloud: PointCloud, recipe: FusionRecipe | None = None) -> None:
    """Write a cloud with its colours and normals as PLY, atomically; the recipe goes into its header."""
    write_ply(path, cloud.xyz, cloud.rgb, cloud.normals, comments=_comments(recipe))


def write_mesh(path: str | Path, mesh: TriangleMesh, recipe: FusionRecipe | None = None) -> None:
    """Write a mesh with its colours as PLY, atomically; the recipe goes into its header."""
    write_ply(path, mesh.vertices, mesh.rgb, triangles=mesh.triangles, comments=_comments(recipe))
