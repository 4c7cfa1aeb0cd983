import numpy as np
import pytest
import torch

from toolbox.errors import UserError
from toolbox.fusion.tsdf_volume import TSDFIntegrator, TSDFVolume, extract_surface, view_frustum

INTRINSICS = torch.tensor([[40.0, 0, 25.0], [0, 44.0, 15.0], [0, 0, 1]], dtype=torch.float64)
SIZE = (32, 48)


@pytest.fixture
def golden(shared) -> dict:
    return torch.load(shared / "golden/msr/tsdf.pt", weights_only=True)


def turned(degrees: float, *translation: float) -> torch.Tensor:
    """world_to_cam: turned about y, then moved."""
    angle = np.radians(degrees)
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 0] = pose[2, 2] = np.cos(angle)
    pose[0, 2], pose[2, 0] = np.sin(angle), -np.sin(angle)
    pose[:3, 3] = torch.tensor(translation)
    return pose


def test_published_volumes(golden):
    integrator = TSDFIntegrator(golden["origin"], tuple(golden["vol_dim"].tolist()), golden["voxel_size"])
    for k, (depth, pose) in enumerate(zip(golden["depths"], golden["poses"], strict=True)):
        integrator.integrate(depth, golden["K"], torch.linalg.inv(pose.double()))
        if k == 0:
            torch.testing.assert_close(integrator.volume().tsdf, golden["tsdf_after1"], rtol=0, atol=1e-5)
    volume = integrator.volume()
    torch.testing.assert_close(volume.tsdf, golden["tsdf"], rtol=0, atol=1e-5)
    assert torch.equal(volume.weight, golden["weight"])


def test_published_surface(golden):
    volume = TSDFVolume(golden["tsdf"], golden["weight"], golden["origin"], golden["voxel_size"])
    mesh = extract_surface(volume, seen_only=False)
    assert len(mesh.triangles) == golden["mesh_n_faces"]
    ours, theirs = (np.unique(v.round(5), axis=0) for v in (mesh.vertices, golden["mesh_verts"].numpy()))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_published_frustums(golden):
    poses = torch.linalg.inv(golden["poses"].double())
    for depth, pose, expected in zip(golden["depths"], poses, golden["view_frustums"], strict=True):
        corners = view_frustum((60, 80), golden["K"].double(), pose, float(depth.max()))
        torch.testing.assert_close(corners.T.float(), expected, rtol=0, atol=1e-5)


def plain_integration(depths, poses, origin, shape, voxel, max_depth):
    """The definition, voxel by voxel, in float64."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"), -1)
    points = origin + index.reshape(-1, 3) * voxel
    total, count = torch.zeros(len(points), dtype=torch.float64), torch.zeros(len(points), dtype=torch.float64)
    for depth, pose in zip(depths, poses, strict=True):
        camera = points @ pose[:3, :3].T + pose[:3, 3]
        x, y = torch.round((camera @ INTRINSICS.T)[:, :2] / camera[:, 2:]).long().T
        ok = (camera[:, 2] > 0) & (x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])
        value = torch.where(ok, depth[y.clamp(0, SIZE[0] - 1), x.clamp(0, SIZE[1] - 1)].double(), 0)
        distance = value - camera[:, 2]
        ok &= (value > 0) & (value <= max_depth) & (distance >= -3 * voxel)
        total += torch.where(ok, (distance / (3 * voxel)).clamp(max=1), 0)
        count += ok
    tsdf = torch.where(count > 0, total / count.clamp(min=1), 1).reshape(shape)
    return tsdf.float(), count.reshape(shape).float()


def test_culling_blocks_changes_nothing():
    """Views from within, from aside and from behind; a far-off world; a shape that no block divides; holes."""
    offset = torch.tensor([1000.0, -500.0, 200.0], dtype=torch.float64)
    depths = 1.0 + torch.rand(4, *SIZE) * 0.8
    depths[torch.rand(4, *SIZE) < 0.2] = 0
    depths[3] = 9.0
    poses = [turned(3, 0.1, 0, 0.2), turned(50, 0, 0.3, 1.0), turned(-160, 0, 0, 2.0), turned(10, 0, 0, 0)]
    for pose in poses:
        pose[:3, 3] -= pose[:3, :3] @ offset
    origin, shape, voxel = offset + torch.tensor([-0.9, -0.7, -0.3]), (29, 21, 35), 0.06
    integrator = TSDFIntegrator(origin, shape, voxel, max_depth=1.7)
    for depth, pose in zip(depths, poses, strict=True):
        integrator.integrate(depth, INTRINSICS, pose)
    volume = integrator.volume()
    tsdf, weight = plain_integration(depths, poses, origin, shape, voxel, 1.7)
    different = volume.weight != weight  # single precision may take the next pixel
    assert different.float().mean() < 1e-4
    torch.testing.assert_close(volume.tsdf[~different], tsdf[~different], rtol=0, atol=2e-4)
    assert (weight > 1).sum() > 100
    assert (weight == 0).sum() > 100


def test_only_blocks_in_the_frustum_are_touched():
    integrator = TSDFIntegrator(torch.tensor([-4.0, -4, -4]), (200, 200, 200), 0.04, max_depth=3.0)
    pose = integrator._voxel_to_cam(torch.eye(4, dtype=torch.float64))
    rows = integrator._visible_blocks(pose, INTRINSICS, SIZE, 1.0)
    frustum = SIZE[0] * SIZE[1] / 40 / 44 / 3 / 0.32**3  # in blocks
    assert frustum < len(rows) < 8 * frustum < 0.05 * 25**3


def test_surface_lies_where_depth_says_and_faces_the_camera():
    integrator = TSDFIntegrator(torch.tensor([-0.5, -0.3, 0.7]), (25, 17, 20), 0.04)
    integrator.integrate(torch.full(SIZE, 1.013), INTRINSICS, torch.eye(4, dtype=torch.float64))
    mesh = extract_surface(integrator.volume())
    np.testing.assert_allclose(mesh.vertices[:, 2], 1.013, atol=1e-5)
    corners = mesh.vertices[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert len(normals) > 500
    assert (normals[:, 2] < 0).all()


def test_unseen_voxels_make_no_surface():
    """Half of the image is unknown; taken as 1, what lies behind the seen half would have a wall towards it."""
    depth = torch.full(SIZE, 1.013)
    depth[:, :24] = 0
    integrator = TSDFIntegrator(torch.tensor([-0.5, -0.3, 0.7]), (25, 17, 20), 0.04)
    integrator.integrate(depth, INTRINSICS, torch.eye(4, dtype=torch.float64))
    volume = integrator.volume()
    assert np.ptp(extract_surface(volume).vertices[:, 2]) < 1e-4
    assert np.ptp(extract_surface(volume, seen_only=False).vertices[:, 2]) > 0.05


def test_nothing_seen():
    integrator = TSDFIntegrator(torch.zeros(3), (4, 5, 6), 0.04)
    for depth in (torch.zeros(SIZE), torch.full(SIZE, float("nan")), torch.full(SIZE, float("inf"))):
        integrator.integrate(depth, INTRINSICS, torch.eye(4, dtype=torch.float64))
    volume = integrator.volume()
    assert (volume.tsdf == 1).all()
    assert (volume.weight == 0).all()
    assert len(extract_surface(volume).triangles) == len(extract_surface(volume, seen_only=False).triangles) == 0


@pytest.mark.parametrize("shape", [(0, 4, 4), (20_000, 20_000, 20_000)])
def test_absurd_volumes_are_refused(shape):
    with pytest.raises(UserError, match="would have"):
        TSDFIntegrator(torch.zeros(3), shape, 0.04)
