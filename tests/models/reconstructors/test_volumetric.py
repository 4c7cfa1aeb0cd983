"""The whole volumetric network: modes, scenes one after another, samples of the data set."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from toolbox.datasets.fragments import FragmentDataset
from toolbox.datasets.scenes import ScanNetScene
from toolbox.datasets.synthetic import make_scannet_scenes
from toolbox.errors import UserError
from toolbox.registry import HEADS, LOSSES, MODELS
from toolbox.structures import FragmentBatch

VOXEL, WINDOW = 0.16, (16, 16, 16)
# No voxel's centre lies on the border of a voxel of the sparse network.
ALIGNED = torch.tensor([[0.8, 0, 0.6, 0.031], [0, 1, 0, -0.043], [-0.6, 0, 0.8, 0.052], [0, 0, 0, 1]])


def config(**neck) -> dict:
    widths = (0.0625, 0.0625, 0.125)
    return {
        "type": "VolumetricReconstructor",
        "backbone": {"type": "ResNet18FPN", "channels": 4, "width": 8},
        "neck": {
            "type": "CoarseToFine",
            "networks": [{"type": "SPVCNN", "width": width} for width in widths],
            "window": WINDOW,
            "voxel_size": VOXEL,
            "back_projection": {"view_fusion": {"type": "AttentionViewFusion"}},
            "sparsifier": {"type": "TSDFBand", "threshold": 1.0},
            "max_voxels": (64, 32, 16),
            "fusion": {"type": "GRUFusion"},
        }
        | neck,
        "heads": {"tsdf": {"type": "TSDFHead"}, "occupancy": {"type": "OccupancyHead"}},
    }


def batch(scene: str = "a", first: bool = False, shift: float = 0.0, samples: int = 1) -> FragmentBatch:
    generator = torch.Generator().manual_seed(2)
    poses = torch.eye(4).repeat(samples, 3, 1, 1)
    poses[:, :, 0, 3] = torch.linspace(-0.1, 0.15, 3) - shift
    return FragmentBatch(
        images=torch.rand(1, 3, 3, 24, 32, generator=generator).repeat(samples, 1, 1, 1, 1),
        intrinsics=torch.tensor([[28.0, 0, 16.5], [0, 30, 11], [0, 0, 1]]).repeat(samples, 3, 1, 1),
        world_to_cam=poses,
        origin=torch.tensor([[-1.28 + shift, -1.28, 1.0]]).repeat(samples, 1),
        world_to_aligned_camera=ALIGNED.repeat(samples, 1, 1),
        meta=[{"scene": scene, "first": first}] * samples,
    )


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A walk through a procedural room: 24 views of 48 x 64 pixels."""
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=24, seed=3, size=(48, 64), workers=1)
    return ScanNetScene(root / "scene0000_00")


@pytest.fixture
def registered():
    """A loss and a head in images, for the time of a test."""

    class MeanTSDF(nn.Module):
        output = "tint"

        def forward(self, prediction, batch):
            return sum(level.tsdf.square().mean() for level in prediction.levels) + prediction.outputs["tint"].sum()

    class Tint(nn.Module):
        def __init__(self, encoder_channels):
            super().__init__()
            self.conv = nn.Conv2d(encoder_channels[0], 1, 1)

        def forward(self, prediction, batch):
            return self.conv(prediction.image_features[0].flatten(0, 1))

    LOSSES.register_module(module=MeanTSDF)
    HEADS.register_module(module=Tint)
    yield
    LOSSES.module_dict.pop("MeanTSDF")
    HEADS.module_dict.pop("Tint")


def test_a_training_step_with_a_head_in_images(registered):
    cfg = config()
    cfg["heads"] = {"tsdf": {"type": "TSDFHead"}, "tint": {"type": "Tint"}, "unasked": {"type": "Tint"}}
    model = MODELS.build({**cfg, "losses": {"flat": {"type": "MeanTSDF"}}})
    for number in range(2):
        losses = model(batch(first=number == 0, shift=0.32 * number), mode="loss")
    assert list(losses) == ["loss_flat"]
    losses["loss_flat"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    # A head that no loss names is left alone.
    assert without == ["heads.unasked.conv.weight", "heads.unasked.conv.bias"]
    prediction = model(batch(first=True))
    assert [tuple(f.shape) for f in prediction.image_features] == [
        (1, 3, 8, 12, 16), (1, 3, 8, 6, 8), (1, 3, 16, 3, 4)
    ]  # fmt: skip
    assert prediction.outputs == {}


def test_the_memory_follows_a_scene():
    model = MODELS.build(config()).eval()
    with torch.no_grad():
        first = model(batch(first=True))
        second_batch = batch(shift=0.32)
        second = model(second_batch)
        third = model(batch(shift=0.64))
        other = model(batch("b"))
        alone = model(batch(first=True, shift=0.32))
    assert first.previous is None
    assert not any(level.with_previous for level in first.levels)
    assert second.previous is not None
    assert all(level.with_previous for level in second.levels)
    assert third.previous is second_batch
    assert not other.levels[-1].with_previous
    assert other.previous is None
    # What the first fragment left changes the second.
    assert (second.levels[-1].tsdf - alone.levels[-1].tsdf).abs().max() > 1e-4


def test_without_a_memory_fragments_do_not_meet_and_batches_are_possible():
    model = MODELS.build(config(fusion_on=False)).eval()
    with torch.no_grad():
        first, again = (model(batch(), mode="predict") for _ in range(2))
        both = model(batch(samples=2), mode="predict")
    assert len(both) == 2
    for sample in (again[0], *both):
        assert torch.equal(sample["coords"], first[0]["coords"])
        torch.testing.assert_close(sample["tsdf"], first[0]["tsdf"], rtol=1e-3, atol=1e-4)
    assert (first[0]["voxel_size"], first[0]["window"], first[0]["meta"]["scene"]) == (VOXEL, WINDOW, "a")


def test_samples_of_the_data_set(room):
    window = {"shape": WINDOW, "voxel_size": VOXEL}
    dataset = FragmentDataset(scenes=room, rule={"views": 3}, window=window, size=(24, 32), read_depth=True)
    model = MODELS.build(config(fusion_on=False)).eval()
    assert sorted(model.heads) == ["occupancy", "tsdf"]
    prepared = model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]))["batch"]
    assert isinstance(prepared, FragmentBatch)
    assert prepared.images.shape == (2, 3, 3, 24, 32)
    assert float(prepared.images.max()) <= 1
    assert prepared.depth.shape == (2, 3, 24, 32)
    assert prepared.tsdf is prepared.segments is None
    torch.testing.assert_close(prepared.origin[1], dataset[1]["window_origin"].float())
    assert [m["fragment"] for m in prepared.meta] == [0, 1]
    with torch.no_grad():
        prediction = model(prepared)
    # Both windows lie where their views look: the coarsest voxels are seen.
    for sample in (0, 1):
        assert prediction.levels[-1].of_sample(sample).supervised.float().mean() > 0.1


def test_volumes_and_superpixels_come_level_by_level(room):
    dataset = FragmentDataset(scenes=room, rule={"views": 3}, size=(24, 32))
    sample = dataset[0] | {
        "tsdf": {1: torch.rand(2, 3, 4), 0: torch.rand(4, 6, 8)},
        "occupancy": {1: torch.ones(2, 3, 4), 0: torch.ones(4, 6, 8)},
        "segments": {0: torch.ones(3, 24, 32, dtype=torch.int32), 1: torch.ones(3, 12, 16, dtype=torch.int32)},
    }
    made = MODELS.build({"type": "FragmentPreprocessor"})([sample, sample])["batch"]
    assert [tuple(v.shape) for v in made.tsdf] == [(2, 4, 6, 8), (2, 2, 3, 4)]
    assert [v.dtype for v in (*made.occupancy, *made.segments)] == [torch.bool] * 2 + [torch.int64] * 2
    assert torch.equal(made.tsdf[0][1], sample["tsdf"][0])
    with pytest.raises(UserError, match="images: has several shapes"):
        MODELS.build({"type": "FragmentPreprocessor"})([sample, sample | {"images": torch.zeros(3, 3, 12, 16)}])


def test_mistakes_in_heads_are_named():
    with pytest.raises(UserError, match="have no 'tsdf' \\(but: occupancy\\)"):
        MODELS.build(config() | {"heads": {"occupancy": {"type": "OccupancyHead"}}})
    with pytest.raises(ValueError, match="mode is"):
        MODELS.build(config())(batch(), mode="train")
