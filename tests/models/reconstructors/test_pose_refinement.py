"""Poses that are only nearly right are moved back by the images and the right depth."""

import pytest
import torch

from toolbox.datasets.synthetic import Tabletop
from toolbox.geometry import rigid_motion
from toolbox.models.reconstructors import PhotometricPoseRefiner
from toolbox.registry import MODELS
from toolbox.structures import MultiViewBatch


@pytest.fixture
def batch(tabletop: Tabletop) -> MultiViewBatch:
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in tabletop.images])[None, :4] / 255
    intrinsics = torch.stack([torch.as_tensor(k) for k in tabletop.intrinsics])[None, :4].float()
    world_to_cam = torch.stack([torch.as_tensor(pose) for pose in tabletop.world_to_cam])[None, :4].double()
    depth = torch.from_numpy(tabletop.depths[0])[None].float()
    return MultiViewBatch(images, intrinsics, world_to_cam, torch.tensor([[425.0, 935.0]]), depth)


def disturbed(world_to_cam: torch.Tensor, size: float) -> torch.Tensor:
    """Sources turned by ``size`` * 0.3 degrees and moved by ``size`` * 3 mm, each about and along another axis."""
    motion = torch.zeros(3, 6, dtype=torch.float64)
    motion[torch.arange(3), torch.arange(3)] = 0.3 * size * torch.pi / 180
    motion[torch.arange(3), torch.tensor([4, 5, 3])] = 3.0 * size
    moved = rigid_motion(motion) @ world_to_cam[0, 1:]
    return torch.cat((world_to_cam[0, :1], moved))[None]


def displacement(batch: MultiViewBatch, world_to_cam: torch.Tensor) -> torch.Tensor:
    """Mean distance, in pixels of each source, from where the reference's points fall to where they should."""
    from toolbox.geometry import project, transform_points, unproject

    points = unproject(batch.depth[0], batch.intrinsics[0, 0]).reshape(-1, 3)[batch.depth[0].flatten() > 0].double()
    pixels = [
        torch.stack(
            [
                project(transform_points(pose[i] @ torch.linalg.inv(pose[0]), points), batch.intrinsics[0, i].double())[
                    0
                ]
                for i in (1, 2, 3)
            ]
        )
        for pose in (batch.world_to_cam[0], world_to_cam[0])
    ]
    return (pixels[0] - pixels[1]).norm(dim=-1).mean(dim=1)


def test_disturbed_poses_are_found_again(batch):
    wrong = disturbed(batch.world_to_cam, 1.0)
    refiner = PhotometricPoseRefiner()
    refined = refiner(batch.images, batch.depth, batch.intrinsics, wrong)
    before, after = displacement(batch, wrong), displacement(batch, refined)
    assert (after < 0.15).all() and after.mean() < 0.2 * before.mean(), (before, after)
    assert torch.equal(refined[:, 0], wrong[:, 0]), "the reference stays"
    assert refined.dtype == torch.float64


def test_right_poses_stay(batch):
    refined = PhotometricPoseRefiner()(batch.images, batch.depth, batch.intrinsics, batch.world_to_cam)
    assert (displacement(batch, refined) < 0.15).all()


def test_a_sample_does_not_depend_on_its_batch(batch):
    wrong = disturbed(batch.world_to_cam, 0.5)
    refiner = PhotometricPoseRefiner(iterations=4)
    alone = refiner(batch.images, batch.depth, batch.intrinsics, wrong)
    pair = [torch.cat((a, b)) for a, b in ((batch.images, batch.images), (batch.depth, batch.depth * 1.02))]
    both = refiner(*pair, batch.intrinsics.expand(2, -1, -1, -1), torch.cat((wrong, batch.world_to_cam)))
    torch.testing.assert_close(both[:1], alone)


def test_unknown_depth_leaves_the_poses(batch):
    refined = PhotometricPoseRefiner()(
        batch.images, torch.zeros_like(batch.depth), batch.intrinsics, batch.world_to_cam
    )
    assert torch.equal(refined, batch.world_to_cam)


def test_a_network_refines_in_inference_only(batch, monkeypatch):
    model = MODELS.build(
        {
            "type": "MultiViewStereo",
            "backbone": {"type": "PyramidFeatures", "channels": (4,) * 6},
            "head": {
                "type": "CostVolumePyramid",
                "coarse_hypotheses": {"type": "UniformInverseDepth", "num": 8},
                "regularizer": {"type": "HourglassRegularizer", "channels": (4, 4, 4), "norm": "group"},
            },
            "pose_refiner": {"type": "PhotometricPoseRefiner", "rounds": 2, "max_size": 64, "iterations": 2},
        }
    )
    shapes = []
    original = PhotometricPoseRefiner.forward

    def forward(self, images, depth, intrinsics, world_to_cam):
        shapes.append(tuple(depth.shape))
        return original(self, images, depth, intrinsics, world_to_cam)

    monkeypatch.setattr(PhotometricPoseRefiner, "forward", forward)
    model.train().predict_depth(batch)
    assert not shapes
    with torch.no_grad():
        prediction = model.eval().predict_depth(batch)
    assert shapes == [(1, 48, 64)] * 2, "two rounds on the coarse level"
    assert prediction.depths[0].shape == (1, 96, 128)
    with pytest.raises(ValueError, match="images"):
        features = [model.extract_features(image) for image in batch.images.unbind(1)]
        model.predict_from_features(
            features, batch.intrinsics, batch.world_to_cam, batch.depth_range, tuple(batch.images.shape[-2:])
        )
