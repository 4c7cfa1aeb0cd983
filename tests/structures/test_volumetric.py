"""Fragments and sparse distances: positions, selections, devices."""

import torch

from toolbox.structures import FragmentBatch, SparseTSDF


def some_tsdf() -> SparseTSDF:
    coords = torch.tensor([[0, 0, 0, 0], [0, 4, 8, 12], [1, -4, 0, 4]], dtype=torch.int32)
    origin = torch.tensor([[0.5, -1.0, 0.25], [3.0, 2.0, 1.0]])
    return SparseTSDF(
        coords, torch.tensor([0.1, -0.2, 0.3]), 0.05, origin, stride=4, kept=torch.tensor([True, False, True])
    )


def test_positions_are_the_centres_in_each_samples_window():
    expected = torch.tensor([[0.5, -1.0, 0.25], [0.7, -0.6, 0.85], [2.8, 2.0, 1.2]])
    torch.testing.assert_close(some_tsdf().positions(), expected)


def test_selection_takes_everything_that_belongs_to_a_voxel():
    tsdf = some_tsdf()
    chosen = tsdf.select(tsdf.kept)
    assert chosen.tsdf.tolist() == tsdf.tsdf[[0, 2]].tolist()
    assert chosen.kept.all()
    assert chosen.truth is None
    assert (chosen.stride, chosen.voxel_size, len(chosen)) == (4, 0.05, 2)
    assert tsdf.of_sample(1).coords.tolist() == [[1, -4, 0, 4]]


def test_a_batch_moves_with_its_volumes():
    eye = torch.eye(4)[None]
    batch = FragmentBatch(
        torch.rand(1, 2, 3, 4, 6), torch.eye(3).expand(1, 2, 3, 3), eye[:, None].expand(1, 2, 4, 4), torch.zeros(1, 3),
        eye, tsdf=[torch.ones(1, 2, 3, 4)], meta=[{"scene": "a"}],
    )  # fmt: skip
    moved = batch.to("meta")
    assert moved.images.is_meta
    assert moved.tsdf[0].is_meta
    assert moved.depth is None
    assert moved.meta == [{"scene": "a"}]
