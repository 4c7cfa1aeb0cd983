import numpy as np
import pytest
import trimesh

from toolbox.errors import UserError
from toolbox.io import read_ply, write_ply


def test_mesh_reads_back(tmp_path):
    xyz = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3.5]], np.float32)
    rgb = np.array([[1, 2, 3], [4, 5, 6], [255, 0, 9], [7, 8, 200]], np.uint8)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3]])
    write_ply(tmp_path / "deep" / "mesh.ply", xyz, rgb, triangles=triangles, comments=("two\nlines", "méthode"))
    read = trimesh.load(tmp_path / "deep" / "mesh.ply", process=False)
    np.testing.assert_array_equal(read.vertices, xyz)
    np.testing.assert_array_equal(read.faces, triangles)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], rgb)
    header = (tmp_path / "deep" / "mesh.ply").read_bytes().split(b"end_header")[0]
    assert b"comment two lines\ncomment m?thode\n" in header


def test_bare_points_read_back(tmp_path):
    xyz = np.random.default_rng(0).normal(size=(11, 3))
    write_ply(tmp_path / "points.ply", xyz)
    np.testing.assert_allclose(trimesh.load(tmp_path / "points.ply").vertices, xyz, rtol=1e-6)


def test_more_vertices_than_are_written_at_once(tmp_path):
    xyz = np.random.default_rng(2).normal(size=(2**17 + 3, 3)).astype(np.float32)
    rgb = np.arange(3 * len(xyz), dtype=np.uint8).reshape(-1, 3)
    write_ply(tmp_path / "cloud.ply", xyz, rgb)
    read = read_ply(tmp_path / "cloud.ply")
    np.testing.assert_array_equal(np.stack([read[name] for name in "xyz"], axis=1), xyz)
    np.testing.assert_array_equal(np.stack([read[name] for name in ("red", "green", "blue")], axis=1), rgb)


def test_vertices_read_back_and_broken_files_are_named(tmp_path):
    rng = np.random.default_rng(1)
    xyz, normals = rng.normal(size=(2, 7, 3)).astype(np.float32)
    rgb = rng.integers(0, 256, (7, 3)).astype(np.uint8)
    path = tmp_path / "cloud.ply"
    write_ply(path, xyz, rgb, normals, triangles=np.array([[0, 1, 2]]), comments=("a recipe",))
    read = read_ply(path)
    np.testing.assert_array_equal(np.stack([read[name] for name in "xyz"], axis=1), xyz)
    np.testing.assert_array_equal(np.stack([read[f"n{name}"] for name in "xyz"], axis=1), normals)
    np.testing.assert_array_equal(np.stack([read[name] for name in ("red", "green", "blue")], axis=1), rgb)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(UserError, match=r"cut off after \d of 7"):
        read_ply(path)
    for other in (b"ply\nformat ascii 1.0\nend_header\n", b"", b"PK\x03\x04" * 50):
        path.write_bytes(other)
        with pytest.raises(UserError, match="no PLY file of the form"):
            read_ply(path)
    with pytest.raises(UserError, match="does not exist"):
        read_ply(tmp_path / "none.ply")
