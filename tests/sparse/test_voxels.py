"""Keys of voxels, look-up, and what is refused."""

import pytest
import torch

from toolbox.errors import UserError
from toolbox.sparse import SparseTensor, VoxelFamily, VoxelSet, lookup
from toolbox.sparse.keys import MAX_COORDINATE, pack, pack_offset, unpack
from toolbox.sparse.voxels import distinct_voxels, floor_to_stride


def test_keys_sort_as_coordinates_do_and_can_be_undone(scattered):
    coords = scattered().coords
    coords = torch.cat((coords, torch.tensor([[4095, MAX_COORDINATE, -MAX_COORDINATE, 0]], dtype=torch.int32)))
    order = sorted(range(len(coords)), key=lambda row: coords[row].tolist())
    assert pack(coords).argsort().tolist() == order
    assert torch.equal(unpack(pack(coords)), coords)


def test_neighbours_keys_differ_by_the_offsets():
    here, there = torch.tensor([[1, -3, 0, 7], [1, -4, 2, 0]], dtype=torch.int32)
    assert int(pack(there) - pack(here)) == pack_offset(-1, 2, -7)


@pytest.fixture(params=["table", "search"])
def way(request, monkeypatch):
    """Either way of finding rows."""
    if request.param == "search":
        monkeypatch.setattr(lookup.TableLookup, "fits", lambda *args: False)


def test_rows_are_found(way):
    voxels = VoxelSet(torch.tensor([[0, 5, -1, 2], [1, 0, 0, 0], [0, -5, 1, 2]], dtype=torch.int32))
    wanted = torch.tensor([[0, -5, 1, 2], [0, 0, 0, 0], [1, 0, 0, 0], [0, 5, -1, 2]], dtype=torch.int32)
    assert voxels.find(wanted).tolist() == [2, -1, 1, 0]
    none = VoxelSet(torch.zeros(0, 4, dtype=torch.int32))
    assert none.find(wanted).tolist() == [-1] * 4


@pytest.mark.parametrize("stride", [1, 3])
def test_neighbours_are_found(scattered, way, stride):
    x = scattered()
    coords = x.coords * torch.tensor([1, stride, stride, stride], dtype=torch.int32)
    rows = {tuple(voxel): row for row, voxel in enumerate(coords.tolist())}
    offsets = [
        (stride * a, stride * b, stride * c) for a, b, c in ((0, 0, 0), (1, -1, 0), (0, 0, 2), (0, 0, 1), (0, -9, 0))
    ]
    found = VoxelSet(coords, stride).neighbours(coords, offsets)
    for offset, near in zip(offsets, found.tolist(), strict=True):
        moved = [(b, *(p + o for p, o in zip(place, offset, strict=True))) for b, *place in coords.tolist()]
        assert near == [rows.get(place, -1) for place in moved]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("reach", [1, 2])
def test_neighbours_of_the_voxels_themselves(scattered, way, stride, reach):
    coords = scattered().coords * torch.tensor([1, stride, stride, stride], dtype=torch.int32)
    steps = (-reach * stride, 0, reach * stride)
    offsets = [(x, y, z) for x in steps for y in steps for z in steps]
    voxels = VoxelSet(coords, stride)
    assert torch.equal(voxels.surroundings(offsets), voxels.neighbours(coords[voxels.order], offsets).T)


def test_every_place_in_and_around_the_box_is_looked_up(way):
    coords = torch.cartesian_prod(torch.tensor([1, 2]), torch.arange(3), torch.arange(2), torch.arange(4)).int()
    around = torch.cartesian_prod(torch.arange(5), *(torch.arange(-3, 7),) * 3).int()
    rows = {tuple(voxel): row for row, voxel in enumerate(coords.tolist())}
    voxels = VoxelSet(coords)
    assert voxels.find(around).tolist() == [rows.get(tuple(place), -1) for place in around.tolist()]
    moved = around + torch.tensor([0, 1, -2, 1], dtype=torch.int32)
    assert torch.equal(voxels.neighbours(around, [(1, -2, 1)])[0].long(), voxels.find(moved))


def test_order_of_voxels(scattered):
    coords = scattered().coords
    voxels = VoxelSet(coords)
    assert coords[voxels.order].tolist() == sorted(coords.tolist())


def test_voxels_far_apart_are_searched_and_not_put_into_a_table():
    coords = torch.tensor([[0, -9000, 0, 0], [0, 0, 9000, -9000], [0, 1, 9000, -9000]], dtype=torch.int32)
    voxels = VoxelSet(coords)
    assert voxels.neighbours(coords, [(1, 0, 0), (-1, 0, 0)]).tolist() == [[-1, 2, -1], [-1, -1, 1]]
    assert isinstance(voxels._lookup, lookup.SortedLookup)


def test_coarser_voxels_are_rounded_down_and_hold_the_finer_ones():
    coords = torch.tensor([[0, -1, 3, 5], [0, -2, 2, 4], [1, 3, 3, 3]], dtype=torch.int32)
    assert floor_to_stride(coords, 4).tolist() == [[0, -4, 0, 4], [0, -4, 0, 4], [1, 0, 0, 0]]
    family = VoxelFamily(VoxelSet(coords))
    assert family.coarser(1, 2).coords.tolist() == [[0, -2, 2, 4], [1, 2, 2, 2]]
    assert family.parents(1, 2).tolist() == [0, 0, 1]
    assert family.coarser(2, 2) is family.coarser(1, 4)
    assert family.finer(4, 2) is family.coarser(1, 2)


def test_distinct_voxels_are_sorted():
    coords = torch.tensor([[1, 0, 0, 0], [0, 2, -1, 0], [1, 0, 0, 0]], dtype=torch.int32)
    assert distinct_voxels(coords).coords.tolist() == [[0, 2, -1, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("row", "stride", "fault"),
    [
        ([0, MAX_COORDINATE + 1, 0, 0], 1, "only up to"),
        ([0, 0, 0, -MAX_COORDINATE - 1], 1, "only up to"),
        ([-1, 0, 0, 0], 1, "batch index -1"),
        ([4096, 0, 0, 0], 1, "batch index 0 to 4096"),
        ([0, 2, 3, 4], 2, "no multiples of the stride 2"),
        ([0, 0, 0, 0], 1, "two rows for one voxel"),
    ],
)
def test_impossible_coordinates_are_refused(row, stride, fault, way):
    coords = torch.tensor([[0, 0, 0, 0], row], dtype=torch.int32)
    with pytest.raises(UserError, match=fault):
        VoxelSet(coords, stride).find(coords)


def test_impossible_coordinates_are_refused_before_they_are_made_coarser():
    coords = torch.tensor([[0, MAX_COORDINATE + 9, 0, 0]], dtype=torch.int32)
    with pytest.raises(UserError, match="only up to"):
        VoxelFamily(VoxelSet(coords)).coarser(1, 2)


def test_tensors_do_not_hold_themselves_alive(scattered):
    """Memory of a graph is given back when the last tensor goes, without waiting for the garbage collector."""
    import gc
    import weakref

    from toolbox.sparse import AvgPool3d, Conv3d

    def run() -> list[weakref.ref]:
        x = scattered()
        y = Conv3d(3, 4, 2, 2, transposed=True).double()(AvgPool3d()(Conv3d(3, 3).double()(x)))
        y.feats.sum().backward()
        return [weakref.ref(x.family), weakref.ref(x.voxels)]

    gc.disable()
    try:
        assert [reference() for reference in run()] == [None, None]
    finally:
        gc.enable()


def test_moving_to_where_it_is_keeps_what_is_known(scattered):
    x = scattered()
    assert x.to("cpu") is x
    moved = x.to("meta")
    assert moved.feats.device.type == moved.coords.device.type == "meta" and isinstance(moved, SparseTensor)
