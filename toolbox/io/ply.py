"""Point clouds and triangle meshes as binary little-endian PLY files."""

import itertools
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Int, UInt8

from toolbox.errors import UserError

from .atomic import atomic_path

_PLY_TYPES = {"<f4": "float", "u1": "uchar"}
_AT_ONCE = 2**16  # vertices put together before they are written: they stay in a core's cache
_NUMPY_TYPES = {name: code for code, name in _PLY_TYPES.items()}


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
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {' '.join(line.split())}" for line in comments]
    header += [f"element vertex {len(xyz)}"] + [f"property {_PLY_TYPES[kind]} {name}" for name, kind in names]
    if triangles is not None:
        header += [f"element face {len(triangles)}", "property list uchar int vertex_indices"]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii", errors="replace"))
        for start in range(0, len(xyz), _AT_ONCE):
            parts = [block[start : start + _AT_ONCE] for block in columns]
            vertices = np.empty(len(parts[0]), dtype=names)
            for (name, _), column in zip(names, (column for part in parts for column in part.T), strict=True):
                vertices[name] = column
            vertices.tofile(file)
        if triangles is not None:
            faces = np.empty(len(triangles), dtype=[("count", "u1"), ("index", "<i4", 3)])
            faces["count"], faces["index"] = 3, triangles
            faces.tofile(file)


def read_ply(path: str | Path) -> np.ndarray:
    """The vertices of a file as ``write_ply`` writes them.

    Returns:
        A structured array with a field per property (``x``, ``red`` ...).

    Raises:
        UserError: there is no such file, it is of another form, or it is cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "does not exist", "Check the path")
    with path.open("rb") as file:
        count, fields = _read_header(file, path)
        vertices = np.fromfile(file, dtype=fields, count=count)
    if len(vertices) < count:
        raise UserError(path, f"is cut off after {len(vertices)} of {count} vertices", "Write it anew")
    return vertices


def _read_header(file: BinaryIO, path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Number of vertices and their properties; the file then stands at the first of them."""
    lines = [file.readline().split()]
    while lines[-1] and lines[-1] != [b"end_header"]:
        lines.append(file.readline().split())
    try:
        start = next(i for i, line in enumerate(lines) if line[:2] == [b"element", b"vertex"])
        properties = itertools.takewhile(lambda line: line[0] == b"property", lines[start + 1 :])
        fields = [(name.decode(), _NUMPY_TYPES[kind.decode()]) for _, kind, name in properties]
        if lines[0] != [b"ply"] or lines[1][1] != b"binary_little_endian" or not lines[-1]:
            raise ValueError
        return int(lines[start][2]), fields
    except (StopIteration, ValueError, KeyError, IndexError) as error:
        raise UserError(
            path, "is no PLY file of the form that the toolbox writes", "Give one of its own cloud.ply or mesh.ply"
        ) from error
