"""Point clouds and triangle meshes as binary little-endian PLY files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from .atomic import atomic_path

_PLY_TYPES = {"<f4": "float", "u1": "uchar"}


def write_ply(
    path: str | Path,
    xyz: Float[np.ndarray, "n 3"],
    rgb: UInt8[np.ndarray, "n 3"] | None = None,
    normals: Float[np.ndarray, "n 3"] | None = None,
    triangles: Int[np.ndarray, "m 3"] | None = None,
    comments: tuple[str, ...] = (),
) -> None:
    """Write points or a mesh, atomically.

    Vertices have ``x y z``, ``nx ny nz`` where there are normals, ``red green blue`` where there are colours; a mesh
    has faces with ``vertex_indices``. Coordinates are float32.

    Args:
        comments: lines of the header, for what the file is and how it was made.
    """
    names = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    columns = [xyz]
    if normals is not None:
        names += [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
        columns.append(normals)
    if rgb is not None:
        names += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        columns.append(rgb)
    vertices = np.empty(len(xyz), dtype=names)
    values = (column for block in columns for column in block.T)
    for (name, _), column in zip(names, values, strict=True):
        vertices[name] = column
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {' '.join(line.split())}" for line in comments]
    header += [f"element vertex {len(xyz)}"] + [f"property {_PLY_TYPES[kind]} {name}" for name, kind in names]
    if triangles is not None:
        header += [f"element face {len(triangles)}", "property list uchar int vertex_indices"]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii", errors="replace"))
        vertices.tofile(file)
        if triangles is not None:
            faces = np.empty(len(triangles), dtype=[("count", "u1"), ("index", "<i4", 3)])
            faces["count"], faces["index"] = 3, triangles
            faces.tofile(file)
