from types import ModuleType, SimpleNamespace

import numpy as np
import open3d as o3d
import pytest

from toolbox.errors import UserError
from toolbox.evaluation import rendered_frames
from toolbox.evaluation.rendered_frames import DepthFusion


@pytest.mark.usefixtures("depth_fusion")
def test_a_wall_is_fused_where_it_is():
    fusion = DepthFusion(0.05, 0.15, 3.0)
    intrinsics = np.array([[50.0, 0, 32], [0, 55, 20], [0, 0, 1]])
    fusion.integrate(np.full((40, 64), 1.5, np.float32), intrinsics, np.eye(4))
    vertices, triangles = fusion.mesh()
    assert len(triangles) > 100
    np.testing.assert_allclose(vertices[:, 2], 1.5, atol=0.02)


def test_an_open3d_that_takes_metres_for_millimetres_is_named():
    def wrong(depth, camera, extrinsic, scale, *arguments):
        return SimpleNamespace(points=np.ones((4, 3)) / scale)

    broken = ModuleType("open3d")
    broken.__version__, broken.camera = "0.20.0", o3d.camera
    cloud = SimpleNamespace(create_from_depth_image=wrong)
    broken.geometry = SimpleNamespace(Image=o3d.geometry.Image, PointCloud=cloud)
    with pytest.raises(UserError, match=r"Open3D 0.20.0.*millimetres.*Use Open3D 0.19"):
        rendered_frames._check_open3d(broken)
