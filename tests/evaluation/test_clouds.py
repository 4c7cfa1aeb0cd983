"""Points from PLY files of every kind, and what is wrong with the others."""

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.evaluation.clouds import nearest_distances, read_points, search_tree
from toolbox.io import write_ply

POINTS = np.array([[1.5, -2.25, 3.0], [4.0, 5.5, -6.125], [7.0, 8.0, 9.0]])


def header(encoding: str, *properties: str, count: int = 3, before: str = "") -> str:
    lines = ["ply", f"format {encoding} 1.0", "comment element vertex 99", *before.splitlines()]
    return "\n".join([*lines, f"element vertex {count}", *properties, "end_header"]) + "\n"


@pytest.mark.parametrize(("encoding", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
@pytest.mark.parametrize("kind", ["float", "double"])
def test_binary_vertices_with_other_fields_between(tmp_path, encoding, order, kind):
    number = order + {"float": "f4", "double": "f8"}[kind]
    vertices = np.zeros(3, dtype=[("red", "u1"), ("x", number), ("nx", order + "f4"), ("y", number), ("z", number)])
    for i, axis in enumerate("xyz"):
        vertices[axis] = POINTS[:, i]
    fields = [
        f"property {t} {n}" for t, n in zip(("uchar", kind, "float", kind, kind), vertices.dtype.names, strict=True)
    ]
    text = header(encoding, *fields).replace(
        "end_header", "element face 1\nproperty list uchar int vertex_indices\nend_header"
    )
    (tmp_path / "a.ply").write_bytes(text.encode() + vertices.tobytes() + b"\x03" + bytes(12))
    points = read_points(tmp_path / "a.ply")
    np.testing.assert_array_equal(points, POINTS)
    assert points.dtype == (np.float64 if kind == "double" else np.float32)


def test_text_vertices(tmp_path):
    fields = ("property uchar red", "property float x", "property float y", "property float z")
    rows = "\n".join("255 " + " ".join(map(str, row)) for row in POINTS)
    (tmp_path / "a.ply").write_text(header("ascii", *fields) + rows + "\n")
    np.testing.assert_array_equal(read_points(tmp_path / "a.ply"), POINTS)


def test_own_meshes(tmp_path):
    write_ply(tmp_path / "a.ply", POINTS, normals=POINTS, triangles=np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(read_points(tmp_path / "a.ply"), POINTS)


XYZ = ("property float x", "property float y", "property float z")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no PLY"),
        (b"ply\n", "no PLY"),
        (b"solid\n", "no PLY"),
        (header("binary_little_endian", *XYZ).encode() + bytes(35), "truncated"),
        (header("ascii", *XYZ).encode() + b"1 2 3\n4 5 6\n", "it has 2"),
        (header("ascii", *XYZ).encode() + b"1 2 3\n4 five 6\n7 8 9\n", "malformed"),
        (header("binary_little_endian", *XYZ, count=0).encode(), "no points"),
        (header("binary_little_endian", *XYZ[:2]).encode() + bytes(99), "no PLY"),
        (header("middle_endian", *XYZ).encode() + bytes(99), "no PLY"),
        (header("ascii", *XYZ, before="element face 1").encode() + bytes(99), "no PLY"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, fault):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(UserError, match=fault) as error:
        read_points(tmp_path / "a.ply")
    assert error.value.where == str(tmp_path / "a.ply")


def test_missing_file():
    with pytest.raises(UserError, match="does not exist"):
        read_points("nowhere.ply")


def test_nearest_distances_in_chunks():
    random = np.random.default_rng(0)
    points, others = random.random((501, 3)), random.random((300, 3))
    brute = np.linalg.norm(points[:, None] - others, axis=-1).min(axis=1)
    whole = nearest_distances(points, search_tree(others))
    np.testing.assert_allclose(whole, brute)
    np.testing.assert_array_equal(nearest_distances(points, search_tree(others), chunk=17, workers=2), whole)
    near = nearest_distances(points, search_tree(others), max_distance=0.05)
    np.testing.assert_array_equal(near, np.where(whole < 0.05, whole, np.inf))
    assert np.isinf(near).any()
    assert np.isfinite(near).any()
