import gc
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from toolbox.engine import load_config
from toolbox.errors import UserError
from toolbox.geometry import scale_intrinsics, warp_to_reference
from toolbox.models.losses import LevelViews, synthesis
from toolbox.models.reconstructors import image_depth
from toolbox.registry import MODELS
from toolbox.structures import MultiViewBatch

ROOT = Path(__file__).resolve().parents[3]


def slim(**changes):
    return MODELS.build({**load_config(ROOT / "configs/cvp_mvsnet/cvp_mvsnet_slim.py").model, **changes})


def random_batch(height: int, width: int, views: int = 3, batch: int = 2) -> MultiViewBatch:
    poses = torch.eye(4).repeat(batch, views, 1, 1)
    poses[:, :, 0, 3] = torch.linspace(0, 0.3, views)
    intrinsics = torch.tensor([[70.0, 0, width / 2 + 1], [0, 73.0, height / 2 - 2], [0, 0, 1]]).repeat(
        batch, views, 1, 1
    )
    return MultiViewBatch(
        images=torch.rand(batch, views, 3, height, width),
        intrinsics=intrinsics,
        world_to_cam=poses,
        depth_range=torch.tensor([[1.0, 4.0], [2.0, 6.0]])[:batch],
        depth=torch.rand(batch, height, width) * 2 + 2,
    )


@pytest.mark.parametrize(("height", "width", "levels"), [(32, 48, 2), (37, 50, 3), (33, 47, 1)])
def test_any_size_and_number_of_levels(height, width, levels):
    model = slim().eval()
    with torch.no_grad():
        prediction = model.predict_depth(random_batch(height, width), num_levels=levels)
    assert [tuple(d.shape[-2:]) for d in prediction.depths] == [
        (-(-height // 2**k), -(-width // 2**k)) for k in range(levels)
    ]
    assert prediction.confidence.shape == (2, height, width)
    assert (prediction.depths[0][0] >= 1 - 1e-4).all() and (prediction.depths[0][0] <= 4 + 1e-4).all()
    assert (prediction.depths[0][1] >= 2 - 1e-4).all() and (prediction.depths[0][1] <= 6 + 1e-4).all()


def test_samples_do_not_depend_on_each_other():
    model, batch = slim().eval(), random_batch(32, 48)
    with torch.no_grad():
        both = model.predict_depth(batch).depths[0]
        single = MultiViewBatch(batch.images[1:], batch.intrinsics[1:], batch.world_to_cam[1:], batch.depth_range[1:])
        torch.testing.assert_close(both[1:], model.predict_depth(single).depths[0], atol=1e-4, rtol=1e-4)


def test_training_and_inference_extract_the_same_features():
    """Training batches the views; without batch statistics the outputs agree."""
    model, batch = slim(test_num_levels=2), random_batch(32, 48)
    with torch.no_grad():
        training = model.train().predict_depth(batch).depths[0]
        torch.testing.assert_close(training, model.eval().predict_depth(batch).depths[0], atol=1e-4, rtol=1e-4)


def test_loss_reaches_every_weight():
    model = slim().train()
    losses = model(random_batch(32, 48), mode="loss")
    assert set(losses) == {"loss_depth"}
    losses["loss_depth"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A constant added to every score changes no probability.
    assert without in ([], ["head.regularizer.prob0.bias"])


def test_losses_share_the_warped_sources_of_their_step_alone(monkeypatch):
    warps = []

    def counted(*args):
        warps.append(warp_to_reference(*args))
        return warps[-1]

    monkeypatch.setattr(synthesis, "warp_to_reference", counted)
    model = slim(losses={error: {"type": "ViewSynthesisLoss", "errors": error} for error in ("l1", "ssim")}).train()
    for step in (1, 2):
        losses = model(random_batch(32, 48), mode="loss")
        assert set(losses) == {"loss_l1", "loss_ssim"}
        assert len(warps) == step * model.num_levels * 2
        assert not any(type(thing) is LevelViews for thing in gc.get_objects())


def test_predict_gives_samples_on_the_image_grid():
    model = slim().eval()
    with torch.no_grad():
        samples = model(random_batch(36, 44), mode="predict")
    assert len(samples) == 2
    assert samples[0]["depth"].shape == samples[0]["gt_depth"].shape == samples[0]["confidence"].shape == (36, 44)


def test_quarter_resolution_lands_on_the_image_grid():
    """MVSNet's strided features stand for pixels 0, 4, 8 ...: a depth ramp comes back as the same ramp."""
    config = load_config(ROOT / "configs/mvsnet/mvsnet.py").model
    config.head.coarse_hypotheses.num = 16
    model = MODELS.build(config).eval()
    batch = random_batch(64, 96, batch=1)
    with torch.no_grad():
        prediction = model.predict_depth(batch)
    assert prediction.depths[0].shape == (1, 16, 24) and prediction.confidence.shape == (1, 64, 96)
    prediction.depths[0] = torch.arange(24.0).mul(4).add(7).expand(1, 16, 24).clone()
    restored = image_depth(prediction, batch.intrinsics[:, 0], (64, 96))
    torch.testing.assert_close(restored[0, 5, :93], torch.arange(93.0) + 7, atol=1e-3, rtol=0)


def test_one_view_is_refused():
    with pytest.raises(UserError, match="source"):
        slim().predict_depth(random_batch(32, 48, views=1))


def test_images_can_be_reduced_for_evaluation():
    model = slim(test_downscale=2).eval()
    images = torch.rand(1, 2, 3, 34, 49)
    intrinsics = torch.tensor([[40.0, 0, 23.0], [0, 42.0, 18.0], [0, 0, 1]]).expand(1, 2, 3, 3)
    world_to_cam = torch.eye(4, dtype=torch.float64).repeat(1, 2, 1, 1)
    world_to_cam[0, 1, 0, 3] = -5.0
    batch = MultiViewBatch(images, intrinsics, world_to_cam, torch.tensor([[50.0, 100.0]]))
    with torch.no_grad():
        (sample,) = model(batch, mode="predict")
        reduced = F.avg_pool2d(F.pad(images[0], (0, 1, 0, 0), mode="replicate"), 2)[None]
        small = model.predict_depth(
            MultiViewBatch(reduced, scale_intrinsics(intrinsics, 0.5, 0.5), world_to_cam, batch.depth_range)
        )
    assert sample["depth"].shape == sample["confidence"].shape == (34, 49)
    torch.testing.assert_close(sample["depth_levels"][0], small.depths[0][0])
    assert (
        sample["depth"].min() >= small.depths[0].min() - 1e-3 and sample["depth"].max() <= small.depths[0].max() + 1e-3
    )
