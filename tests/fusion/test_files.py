import numpy as np
import open3d as o3d

from toolbox.fusion import FusionRecipe, PointCloud, TriangleMesh, read_cloud, write_cloud, write_mesh


def test_cloud_and_mesh_carry_their_recipe(tmp_path):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(20, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    xyz, rgb = rng.normal(size=(20, 3)).astype(np.float32), rng.integers(0, 256, (20, 3)).astype(np.uint8)
    cloud = PointCloud(xyz, rgb, np.zeros(20, np.int32), normals)
    mesh = TriangleMesh(xyz, rng.integers(0, 20, (9, 3)).astype(np.int32), rgb)
    recipe = FusionRecipe(min_views=2)
    write_cloud(tmp_path / "cloud.ply", cloud, recipe)
    write_mesh(tmp_path / "mesh.ply", mesh, recipe)
    for name in ("cloud.ply", "mesh.ply"):
        header = (tmp_path / name).read_bytes().split(b"end_header")[0].decode()
        assert f"comment fusion recipe: {recipe.describe()}\n" in header
    read = o3d.io.read_point_cloud(str(tmp_path / "cloud.ply"))
    np.testing.assert_array_equal(np.asarray(read.points).astype(np.float32), xyz)
    np.testing.assert_allclose(np.asarray(read.normals), normals, rtol=1e-6)
    np.testing.assert_array_equal(np.rint(np.asarray(read.colors) * 255), rgb)
    read = o3d.io.read_triangle_mesh(str(tmp_path / "mesh.ply"))
    np.testing.assert_array_equal(np.asarray(read.triangles), mesh.triangles)
    again = read_cloud(tmp_path / "cloud.ply", spacing=0.25)
    np.testing.assert_array_equal(again.xyz, cloud.xyz)
    np.testing.assert_array_equal(again.normals, cloud.normals)
    np.testing.assert_array_equal(again.rgb, cloud.rgb)
    assert again.spacing == 0.25
