"""The memory of a scene: windows that overlap, what is forgotten, and truth from fragment to fragment."""

import torch

from toolbox.models.necks import GRUFusion
from toolbox.structures import FragmentBatch

WINDOW = (4, 6, 8)


def fragment(origin: tuple[float, float, float], tsdf: torch.Tensor | None = None) -> FragmentBatch:
    eye = torch.eye(4)[None]
    return FragmentBatch(
        images=torch.zeros(1, 1, 3, 2, 2), intrinsics=torch.eye(3)[None, None], world_to_cam=eye[:, None],
        origin=torch.tensor([origin]), world_to_aligned_camera=eye, tsdf=None if tsdf is None else [tsdf, tsdf],
    )  # fmt: skip


def rows(*xyz: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor([(0, *c) for c in xyz], dtype=torch.int32)


def test_voxels_of_earlier_fragments_come_back_in_the_window():
    fusion = GRUFusion((3, 3), voxel_size=0.1)
    first = fusion(0, rows((1, 2, 3), (3, 5, 7)), torch.randn(2, 3), fragment((0.4, -0.2, 1.0)), WINDOW)
    assert not first.had_memory
    assert first.coords.tolist() == [[0, 1, 2, 3], [0, 3, 5, 7]]
    # A window two voxels farther along x, with a little rounding: (3, 5, 7) lies in it as (1, 5, 7).
    second = fusion(0, rows((2, 0, 0)), torch.randn(1, 3), fragment((0.5999, -0.2, 1.0)), WINDOW)
    assert second.had_memory
    assert second.coords.tolist() == [[0, 1, 5, 7], [0, 2, 0, 0]]
    # The memory keeps what lies outside the window, and has the new state inside.
    memory = fusion.hidden[0]
    by_place = {tuple(c): f for c, f in zip(memory.coords.tolist(), memory.feats, strict=True)}
    assert set(by_place) == {(1, 2, 3), (3, 5, 7), (4, 0, 0)}
    assert torch.equal(by_place[1, 2, 3], first.feats[0].detach())
    assert torch.equal(by_place[3, 5, 7], second.feats[0].detach())
    assert not memory.feats.requires_grad
    assert fusion.hidden[1] is None


def test_a_coarser_level_counts_its_own_voxels():
    fusion = GRUFusion((3, 3), voxel_size=0.1)
    fusion(1, rows((2, 4, 6)), torch.randn(1, 3), fragment((0.0, 0.0, 0.0)), WINDOW)
    assert fusion.hidden[1].coords.tolist() == [[1, 2, 3]]
    again = fusion(1, rows((0, 0, 0)), torch.randn(1, 3), fragment((0.2, 0.0, -0.2)), (4, 6, 10))
    assert again.coords.tolist() == [[0, 0, 0, 0], [0, 0, 4, 8]]


def test_a_new_scene_starts_empty():
    fusion = GRUFusion((3,), voxel_size=0.1)
    feats = torch.randn(2, 3)
    first = fusion(0, rows((1, 2, 3), (3, 5, 7)), feats, fragment((0.4, -0.2, 1.0)), WINDOW)
    fusion.forget()
    again = fusion(0, rows((1, 2, 3), (3, 5, 7)), feats, fragment((0.4, -0.2, 1.0)), WINDOW)
    assert not again.had_memory
    assert torch.equal(first.feats, again.feats)
    assert list(fusion.state_dict()) == [name for name, _ in fusion.named_parameters()]


def test_gradients_stay_in_a_fragment_and_reach_its_features():
    fusion = GRUFusion((3,), voxel_size=0.1)
    before = torch.randn(1, 3, requires_grad=True)
    fusion(0, rows((1, 1, 1)), before, fragment((0.0, 0.0, 0.0)), WINDOW)
    feats = torch.randn(2, 3, requires_grad=True)
    out = fusion(0, rows((3, 3, 3), (0, 0, 1)), feats, fragment((0.0, 0.0, 0.0)), WINDOW)
    out.feats.sum().backward()
    assert before.grad is None
    assert (feats.grad.abs().sum(dim=1) > 0).all()
    assert out.coords.tolist() == [[0, 0, 0, 1], [0, 1, 1, 1], [0, 3, 3, 3]]


def test_truth_is_remembered_where_the_fragment_sees_no_surface():
    fusion = GRUFusion((3,), voxel_size=0.1)
    dense = torch.ones(1, *WINDOW)
    dense[0, 2, 1, 1], dense[0, 3, 3, 3] = 0.25, -0.5
    feats = torch.randn(1, 3)
    first = fusion(0, rows((2, 1, 1)), feats, fragment((0.0, 0.0, 0.0), dense), WINDOW)
    assert first.truth.tolist() == [0.25]
    later = torch.ones(1, *WINDOW)
    later[0, 2, 3, 3] = 0.75
    second = fusion(0, rows((2, 3, 3), (3, 0, 0)), feats.expand(2, 3), fragment((0.1, 0.0, 0.0), later), WINDOW)
    assert second.coords.tolist() == [[0, 1, 1, 1], [0, 2, 3, 3], [0, 3, 0, 0]]
    assert second.truth.tolist() == [0.25, 0.75, 1.0]
