"""Batches keep their layout: wrong shapes are refused at the door while the tests run."""

import jaxtyping
import pytest
import torch

from toolbox.structures import DepthPrediction, MultiViewBatch


def tensors(batch: int = 2, views: int = 3, height: int = 4, width: int = 6) -> dict:
    return {
        "images": torch.rand(batch, views, 3, height, width),
        "intrinsics": torch.eye(3).expand(batch, views, 3, 3),
        "world_to_cam": torch.eye(4).expand(batch, views, 4, 4),
        "depth_range": torch.tensor([[1.0, 2.0]]).expand(batch, 2),
    }


def test_to_moves_every_tensor_and_keeps_the_rest():
    meta = [{"scene": "a"}, {"scene": "b"}]
    moved = MultiViewBatch(**tensors(), depth=torch.rand(2, 4, 6), meta=meta).to("meta")
    names = ("images", "intrinsics", "world_to_cam", "depth_range", "depth")
    assert [getattr(moved, name).device.type for name in names] == ["meta"] * 5
    assert moved.meta is meta
    assert MultiViewBatch(**tensors()).to("cpu").depth is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("images", torch.rand(2, 3, 4, 6, 3)),
        ("intrinsics", torch.eye(3).expand(2, 2, 3, 3)),
        ("world_to_cam", torch.eye(3).expand(2, 3, 3, 3)),
        ("depth_range", torch.rand(2, 3)),
        ("depth", torch.rand(2, 1, 4, 6)),
    ],
)
def test_wrong_shapes_are_refused(name, wrong):
    with pytest.raises(jaxtyping.TypeCheckError):
        MultiViewBatch(**{**tensors(), name: wrong})


def test_levels_of_a_prediction_have_their_own_sizes():
    prediction = DepthPrediction(
        depths=[torch.ones(2, 8, 12), torch.ones(2, 4, 6)],
        intrinsics=[torch.eye(3).expand(2, 3, 3, 3)] * 2,
        confidence=torch.rand(2, 8, 12),
    )
    assert [tuple(depth.shape[1:]) for depth in prediction.depths] == [(8, 12), (4, 6)]
    assert prediction.probabilities is None
