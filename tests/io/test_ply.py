import numpy as np
import trimesh

from toolbox.io import write_ply


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
