"""Rendered views: calibrated scale, points, the head in a fragment."""

from dataclasses import replace

import pytest
import torch

from toolbox.errors import UserError
from toolbox.geometry import transform_points
from toolbox.registry import HEADS
from toolbox.structures import FragmentBatch, RenderedView, SparseTSDF, VolumetricPrediction

SETTINGS = {
    "type": "MPIHead",
    "encoder_channels": (5, 6),
    "num_planes": 4,
    "decoder": {"channels": (8, 9), "context_channels": (12, 11, 10, 7), "frequencies": 2},
}


def test_scale_makes_planes_agree_with_the_surface():
    from toolbox.models.heads import calibrated_scale

    depth, disparity = torch.rand(2, 4, 5) + 1, torch.zeros(2, 4, 5)
    disparity[0], disparity[1] = 1.7 / depth[0], 1 / depth[1]
    pixels = torch.tensor([[0, 0], [4, 3], [2, 1]])
    view = RenderedView(
        torch.zeros(2, 3, 4, 5),
        torch.zeros(2, 3, 4, 5),
        disparity,
        torch.ones(2, 4, 5, dtype=torch.bool),
        torch.zeros(3, dtype=torch.int64),
        pixels,
        depth[0, pixels[:, 1], pixels[:, 0]],
    )
    torch.testing.assert_close(calibrated_scale(view), torch.tensor([1.7, 1.0]))


def fragment(samples: int = 2, views: int = 3, size: tuple[int, int] = (22, 28)):
    """Cameras in a row before a wall of voxels, and random features."""
    poses = torch.eye(4).repeat(samples, views, 1, 1)
    poses[:, :, 0, 3] = -0.1 * torch.arange(views)
    intrinsics = torch.tensor([[25.0, 0, 13.2], [0, 24.0, 11.4], [0, 0, 1]]).expand(samples, views, 3, 3)
    batch = FragmentBatch(torch.rand(samples, views, 3, *size), intrinsics, poses, torch.zeros(samples, 3), poses[:, 1])
    cells = torch.cartesian_prod(torch.arange(samples), torch.arange(-9, 12), torch.arange(-7, 8), torch.tensor([40]))
    tsdf = torch.full((len(cells),), 0.02, requires_grad=True)
    level = SparseTSDF(cells.int(), tsdf, 0.05, batch.origin)
    features = [torch.randn(samples, views, 5, 11, 14), torch.randn(samples, views, 6, 6, 7)]
    return VolumetricPrediction([level], level, image_features=features), batch


def test_head_renders_a_pair_of_views():
    head = HEADS.build(SETTINGS).eval()
    prediction, batch = fragment()
    pair = head(prediction, batch)
    for view, number in ((pair.source, 1), (pair.target, 2)):
        torch.testing.assert_close(view.image, batch.images[:, number])
        assert view.synthesis.shape == (2, 3, 22, 28) and view.disparity.shape == (2, 22, 28)
        assert torch.isfinite(view.synthesis).all() and (view.disparity > 0).all()
        assert set(view.point_sample.tolist()) == {0, 1}
    positions = prediction.levels[0].of_sample(0).positions()
    expected = transform_points(batch.world_to_cam[0, 1], positions)
    depth = pair.source.point_depth[pair.source.point_sample == 0]
    factor = 1 + 0.02 / expected.norm(dim=1)
    assert set(depth.tolist()) <= set((expected[:, 2] * factor).tolist())
    assert len(depth) > 50
    pair.target.synthesis.sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_views_and_disparities_are_drawn_in_training_only():
    head = HEADS.build({**SETTINGS, "max_distance": 2})
    for _ in range(20):
        source, target = head._views(6).tolist()
        assert 0 < abs(source - target) <= 2 and min(source, target) >= 0 and max(source, target) < 6
    drawn = head.disparities(50)
    edges = torch.linspace(2.0, 0.3, 5)
    assert ((drawn <= edges[:-1]) & (drawn >= edges[1:])).all() and drawn.std(dim=0).min() > 0.05
    head.eval()
    torch.testing.assert_close(head.disparities(1)[0], (edges[:-1] + edges[1:]) / 2)
    assert head._views(9).tolist() == [4, 5] and head._views(2).tolist() == [1, 0]


def test_a_volume_without_surface_leaves_the_scale_alone():
    head = HEADS.build(SETTINGS).eval()
    prediction, batch = fragment()
    level = replace(prediction.levels[0], supervised=torch.zeros(len(prediction.levels[0]), dtype=torch.bool))
    pair = head(replace(prediction, levels=[level]), batch)
    assert pair.scale.tolist() == [1.0, 1.0] and len(pair.source.point_depth) == 0


def test_mistakes_are_named():
    with pytest.raises(UserError, match="from near to far"):
        HEADS.build({**SETTINGS, "disparity_range": (0.3, 2.0)})
    prediction, batch = fragment(views=1 + 1)
    batch.images = batch.images[:, :1]
    with pytest.raises(UserError, match="one view"):
        HEADS.build(SETTINGS)(prediction, batch)
