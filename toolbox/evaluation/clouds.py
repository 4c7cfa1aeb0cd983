"""Point clouds for evaluation: reading them, and nearest neighbours in bounded memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from toolbox.errors import UserError

CHUNK = 1_000_000
_LONGEST_LINE = 4096
_TEXT = "="
_BYTE_ORDERS = {"ascii": _TEXT, "binary_little_endian": "<", "binary_big_endian": ">"}
_NUMBERS = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_REMEDY = "Restore the file from its source, or write it anew"


def _vertex_layout(path: Path) -> tuple[np.dtype, int, int, bool]:
    """From a PLY header: a vertex's fields, the number of vertices, where they start, whether they are text."""
    unusable = UserError(path, "is no PLY file that starts with vertices x, y, z", _REMEDY)
    order, fields, count = None, [], None
    with path.open("rb") as file:
        if file.readline(_LONGEST_LINE).strip() != b"ply":
            raise unusable
        while words := file.readline(_LONGEST_LINE).decode("latin-1").split():
            if words[0] == "end_header":
                break
            if words[0] == "format" and len(words) > 1:
                order = _BYTE_ORDERS.get(words[1])
            elif words[0] == "element" and count is None and words[1:2] == ["vertex"] and words[-1].isdigit():
                count = int(words[-1])
            elif words[0] == "element" and count is None:
                raise unusable
            elif words[0] == "element":
                fields.append(None)  # what follows describes other elements
            elif words[0] == "property" and None not in fields:
                if len(words) != 3 or words[1] not in _NUMBERS:
                    raise unusable
                fields.append((words[2], (order or "") + _NUMBERS[words[1]]))
        else:
            raise unusable
        fields = [field for field in fields if field is not None]
        names = [name for name, _ in fields]
        if order is None or count is None or not {"x", "y", "z"} <= set(names) or len(set(names)) < len(names):
            raise unusable
        return np.dtype(fields), count, file.tell(), order == _TEXT


def read_points(path: str | Path) -> Float[np.ndarray, "n 3"]:
    """Read the vertices of a PLY file (text or binary) in its unit; float64 where the file has it, else float32.

    Only the coordinates are held in memory. (Readers at hand return zeros for what a truncated file lacks.)

    Raises:
        UserError: the file is missing, is no PLY that starts with vertices, ends early, or has no points.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "does not exist", "Check the path")
    fields, count, start, is_text = _vertex_layout(path)
    if count == 0:
        raise UserError(path, "has no points", "Give a cloud with points")
    kind = np.float64 if any(fields[axis].itemsize == 8 for axis in "xyz") else np.float32
    if is_text:
        return _read_text(path, fields, count, start).astype(kind)
    if path.stat().st_size < start + count * fields.itemsize:
        raise UserError(path, f"is truncated: its header announces {count} vertices", _REMEDY)
    points = np.empty((count, 3), kind)
    with path.open("rb") as file:
        file.seek(start)
        for part in chunks(count, CHUNK):
            vertices = np.fromfile(file, fields, count=len(points[part]))
            for i, axis in enumerate("xyz"):
                points[part, i] = vertices[axis]
    return points


def _read_text(path: Path, fields: np.dtype, count: int, start: int) -> np.ndarray:
    columns = [fields.names.index(axis) for axis in "xyz"]
    with path.open("rb") as file:
        file.seek(start)
        try:
            points = np.loadtxt(file, usecols=columns, max_rows=count, ndmin=2, comments=None)
        except ValueError as error:
            raise UserError(path, f"has a malformed vertex ({error})", _REMEDY) from error
    if len(points) < count:
        raise UserError(path, f"is truncated: its header announces {count} vertices, it has {len(points)}", _REMEDY)
    return points


def finite_points(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 3"]:
    """The points without a coordinate that is infinite or not a number."""
    finite = np.isfinite(points).all(axis=1)
    return points if finite.all() else points[finite]


def chunks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover ``range(count)``."""
    return (slice(start, start + size) for start in range(0, count, size))


def where_points(
    points: Float[np.ndarray, "n 3"],
    condition: Callable[[np.ndarray], np.ndarray],
    chunk: int = CHUNK,
) -> Bool[np.ndarray, " n"]:
    """A condition on points, evaluated in float64, ``chunk`` points at a time."""
    holds = np.empty(len(points), dtype=bool)
    for part in chunks(len(points), chunk):
        holds[part] = condition(points[part].astype(np.float64))
    return holds


def nearest_distances(
    points: Float[np.ndarray, "n 3"],
    tree: cKDTree,
    max_distance: float | int = np.inf,
    chunk: int = CHUNK,
    workers: int = 1,
) -> Float[np.ndarray, " n"]:
    """Distance of each point to the nearest point of ``tree``; infinite where none is nearer than ``max_distance``.

    Args:
        max_distance: strict; a search that ends early is a fast one.
        chunk: points looked up at a time. It bounds the memory and does not change the result.
        workers: threads.
    """
    distances = np.empty(len(points))
    for part in chunks(len(points), chunk):
        distances[part] = tree.query(points[part], distance_upper_bound=max_distance, workers=workers)[0]
    return distances


def search_tree(points: Float[np.ndarray, "n 3"]) -> cKDTree:
    """A k-d tree split at cell centres, which is built several times faster than one split at medians."""
    return cKDTree(points, balanced_tree=False)
