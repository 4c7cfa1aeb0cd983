"""Voxels of a scene, window by window."""

import torch

from toolbox.structures import VoxelMap, distinct_rows


def voxel_map(*rows: tuple[int, int, int, float]) -> VoxelMap:
    table = torch.tensor(rows)
    return VoxelMap(table[:, :3].long(), table[:, 3:])


def as_dict(voxels: VoxelMap) -> dict:
    return {tuple(c): f.item() for c, f in zip(voxels.coords.tolist(), voxels.feats, strict=True)}


SCENE = voxel_map((0, 0, 0, 1.0), (-3, 2, 5, 2.0), (4, 1, 2, 3.0))


def test_a_window_holds_its_first_voxel_and_not_the_one_after_its_last():
    inside = SCENE.inside(torch.tensor([-3, 0, 0]), (7, 3, 6))
    assert inside.tolist() == [True, True, False]
    assert SCENE.inside(torch.tensor([-3, 0, 0]), (8, 2, 6)).tolist() == [True, False, True]


def test_joining_prefers_the_other_map():
    joined = SCENE.joined(voxel_map((0, 0, 0, 9.0), (1, 1, 1, 8.0)))
    assert as_dict(joined) == {(-3, 2, 5): 2.0, (0, 0, 0): 9.0, (1, 1, 1): 8.0, (4, 1, 2): 3.0}
    assert joined.coords.tolist() == sorted(joined.coords.tolist())


def test_substitution_empties_the_window_first():
    changed = SCENE.substituted(torch.tensor([-3, 0, 0]), (4, 3, 6), voxel_map((-1, 0, 0, 7.0)))
    assert as_dict(changed) == {(4, 1, 2): 3.0, (-1, 0, 0): 7.0}


def test_lookup_in_any_order_with_a_default():
    wanted = torch.tensor([[4, 1, 2], [7, 7, 7], [0, 0, 0]])
    assert SCENE.lookup(wanted, default=-1.0)[:, 0].tolist() == [3.0, -1.0, 1.0]
    assert VoxelMap.empty(SCENE.feats).lookup(wanted).tolist() == [[0.0]] * 3


def test_distinct_rows_are_those_of_unique():
    coords = torch.randint(-3, 3, (200, 3)) * torch.tensor([1, 7, 300000])
    expected = torch.unique(coords, dim=0, return_inverse=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(distinct_rows(coords), expected, strict=True))
