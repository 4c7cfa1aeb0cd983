"""Single layers against torchsparse 1.4.0 (facts and files: golden/README.md). Its coordinates are (x, y, z, batch)."""

import pytest
import torch
from torch import Tensor

from toolbox.sparse import (
    BatchNorm,
    ConvSpec,
    PointTensor,
    ReLU,
    SparseTensor,
    VoxelSet,
    conv3d,
    devoxelize,
    points_to_voxels,
    voxelize,
)

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden(shared) -> dict:
    return torch.load(shared / "golden/msr/sparse_ops.pt", weights_only=True)


def batch_first(coords: Tensor) -> Tensor:
    return torch.cat((coords[:, 3:], coords[:, :3]), dim=1)


def rows_in(coords: Tensor, voxels: VoxelSet) -> Tensor:
    """The published rows of our voxels; both have to be the same set."""
    rows = VoxelSet(batch_first(coords), voxels.stride).find(voxels.coords)
    assert len(coords) == len(voxels) and (rows >= 0).all()
    return rows


def assert_equal(ours: Tensor, published: Tensor) -> None:
    assert ours.shape == published.shape
    assert (ours - published).abs().max() <= TOLERANCE * published.abs().max()


CONVOLUTIONS = {
    "k3s1": (1, ConvSpec(3)),
    "k1s1": (1, ConvSpec(1)),
    "k2s2": (1, ConvSpec(2, 2)),
    "k3s1_at_stride2": (2, ConvSpec(3)),
    "k2s2_at_stride2": (2, ConvSpec(2, 2)),
    "k2s2T_stride4_to_2": (4, ConvSpec(2, 2, transposed=True)),
    "k2s2T_stride2_to_1": (2, ConvSpec(2, 2, transposed=True)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(golden, name):
    stride, spec = CONVOLUTIONS[name]
    case = golden[name]
    x = SparseTensor(batch_first(golden["in_coords"]), golden["in_feats"])
    x.family.coarser(1, 2), x.family.coarser(2, 2)
    if "in_feats" in case:
        coords = case.get("in_coords", golden["in_coords"])
        x = x.at_stride(stride, case["in_feats"][rows_in(coords, x.family.levels[stride])])
    out = conv3d(x, case["kernel"], spec, case.get("bias"))
    assert_equal(out.feats, case["out_feats"][rows_in(case["out_coords"], out.voxels)])


def test_offsets(golden):
    assert ConvSpec(3).offsets() == [tuple(offset) for offset in golden["offsets_k3_s1_probed"].tolist()]
    assert ConvSpec(2).offsets() == [tuple(offset) for offset in golden["offsets_k2_s2_probed"].tolist()]


def test_activation_and_normalisation(golden):
    x = SparseTensor(batch_first(golden["in_coords"]), golden["in_feats"])
    assert_equal(ReLU()(x).feats, golden["relu"])
    norm = BatchNorm(12)
    norm.norm.load_state_dict(golden["bn"]["state_before"])
    assert_equal(norm.eval()(x).feats, golden["bn"]["out_eval"])
    assert_equal(norm.train()(x).feats, golden["bn"]["out_train"])
    for name, value in golden["bn"]["state_after_train"].items():
        torch.testing.assert_close(norm.norm.state_dict()[name], value)


@pytest.fixture
def points(golden) -> PointTensor:
    case = golden["voxelize"]
    return PointTensor(batch_first(case["points"]), case["feats"]).in_voxels(case["vres"])


def test_voxelize(golden, points):
    case = golden["voxelize"]
    voxels = voxelize(points)
    assert_equal(points.coords, batch_first(case["z_C_after"]))
    assert_equal(voxels.feats, case["vox_feats"][rows_in(case["vox_coords"], voxels.voxels)])


@pytest.mark.parametrize("stride", [1, 4])
def test_between_points_and_voxels(golden, points, stride):
    case = golden["voxelize"]
    voxels = voxelize(points)
    voxels.family.coarser(1, 4)
    level = voxels.family.levels[stride]
    to_voxels = case[f"p2v_s{stride}"]
    means = points_to_voxels(points, voxels.at_stride(stride, torch.zeros(len(level), 1)))
    assert_equal(means.feats, to_voxels["out_feats"][rows_in(to_voxels["out_coords"], level)])
    for name, settings in (("", {}), ("_nearest", {"mode": "nearest", "published_nearest": True})):
        to_points = case[f"v2p_s{stride}{name}"]
        rows = rows_in(to_points.get("vox_coords", case["vox_coords"]), level)
        out = devoxelize(voxels.at_stride(stride, to_points["vox_feats_in"][rows]), points, **settings)
        assert_equal(out.feats, to_points["out"])
