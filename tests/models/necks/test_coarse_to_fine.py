"""The coarse-to-fine network: what is kept, what is split, batches, caps, empty levels."""

import pytest
import torch

from toolbox.errors import UserError
from toolbox.models.heads import OccupancyHead, TSDFHead
from toolbox.models.necks import CoarseToFine, OccupancyThreshold, TSDFBand
from toolbox.models.necks.sparsification import cap_per_sample
from toolbox.registry import NECKS
from toolbox.structures import FragmentBatch

VOXEL = 0.1


def fragments(batch_size: int = 2, views: int = 3, truth: bool = True) -> FragmentBatch:
    """Views along x of a window of 12 x 16 x 8 voxels in front of them."""
    generator = torch.Generator().manual_seed(4)
    poses = torch.eye(4).repeat(batch_size, views, 1, 1)
    poses[:, :, 0, 3] = torch.linspace(-0.1, 0.15, views)
    origin = torch.tensor([[-0.6, -0.8, 1.0], [-0.5, -0.7, 1.2]])[:batch_size]
    dense = [torch.rand(batch_size, *(n >> level for n in (12, 16, 8)), generator=generator) for level in (0, 1)]
    return FragmentBatch(
        images=torch.rand(batch_size, views, 3, 24, 32, generator=generator),
        intrinsics=torch.tensor([[28.0, 0, 16.5], [0, 30, 11], [0, 0, 1]]).repeat(batch_size, views, 1, 1),
        world_to_cam=poses,
        origin=origin,
        world_to_aligned_camera=torch.eye(4).repeat(batch_size, 1, 1),
        tsdf=dense if truth else None,
        meta=[{"scene": "a", "first": True}] * batch_size,
    )


def images(batch: FragmentBatch) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    shape = batch.images.shape
    return [
        torch.randn(shape[1], c, shape[3] >> level, shape[4] >> level, generator=generator).repeat(shape[0], 1, 1, 1, 1)
        for level, c in enumerate((4, 6))
    ]


def network(**settings) -> CoarseToFine:
    return NECKS.build(
        {
            "type": "CoarseToFine",
            "image_channels": (4, 6),
            "networks": [{"type": "SPVCNN", "width": width} for width in (0.0625, 0.125)],
            "voxel_size": VOXEL,
            "window": (12, 16, 8),
            "max_voxels": (200, 30),
            "sparsifier": {"type": "TSDFBand", "threshold": 10.0},
        }
        | settings
    )


def run(neck: CoarseToFine, batch: FragmentBatch, heads: dict | None = None, **more):
    heads = heads or {"tsdf": TSDFHead(neck.channels)}
    return neck(images(batch), (1, 2), False, batch, heads, **more)


def test_every_level_splits_what_the_coarser_one_kept():
    torch.manual_seed(1)
    neck, batch = network().eval(), fragments()
    prediction = run(neck, batch)
    fine, coarse = prediction.levels
    assert (coarse.stride, fine.stride, neck.channels) == (2, 1, (6, 12))
    assert len(coarse) == 2 * 6 * 8 * 4
    assert len(fine) == 8 * int(coarse.kept.sum())
    parents = torch.cat((fine.coords[:, :1], fine.coords[:, 1:] // 2 * 2), dim=1)
    assert torch.equal(parents.unique(dim=0), coarse.coords[coarse.kept].unique(dim=0))
    assert len(fine.coords.unique(dim=0)) == len(fine)
    assert 0 < coarse.kept.sum() == coarse.supervised.sum() < len(coarse)
    assert torch.equal(coarse.supervised, coarse.num_views > 1)
    assert torch.equal(prediction.surface.coords, fine.coords[fine.kept])
    for level, here in enumerate((fine, coarse)):
        sample, x, y, z = (here.coords.long() // torch.tensor([1, *[2**level] * 3])).T
        assert torch.equal(here.truth, batch.tsdf[level][sample, x, y, z])


def test_samples_of_a_batch_do_not_meet():
    neck = network().eval()
    heads = {"tsdf": TSDFHead(neck.channels), "occupancy": OccupancyHead(neck.channels)}
    both = fragments()
    together = run(neck, both, heads)
    alone = fragments(1)
    first = run(neck, alone, heads)
    for mine, theirs in zip(first.levels, together.levels, strict=True):
        of_first = theirs.of_sample(0)
        assert torch.equal(mine.coords, of_first.coords)
        torch.testing.assert_close(mine.tsdf, of_first.tsdf, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.occupancy, of_first.occupancy, rtol=1e-4, atol=1e-5)


def test_training_keeps_at_most_so_many_voxels_of_each_sample():
    neck, batch = network(), fragments(truth=False)
    prediction = run(neck.train(), batch)
    fine, coarse = prediction.levels
    assert [int(coarse.of_sample(i).kept.sum()) for i in (0, 1)] == [30, 30]
    assert [int(fine.of_sample(i).kept.sum()) for i in (0, 1)] == [200, 200]
    assert fine.truth is None


def test_the_cap_is_random_and_leaves_small_samples_alone():
    coords = torch.zeros(50, 4, dtype=torch.int32)
    coords[40:, 0] = 1
    kept = torch.ones(50, dtype=torch.bool)
    kept[3] = False
    first, second = (cap_per_sample(kept, coords, 15) for _ in range(2))
    assert first[:40].sum() == second[:40].sum() == 15
    assert first[40:].sum() == 10
    assert not first[3]
    assert not torch.equal(first, second)


def test_policies():
    tsdf, occupancy = torch.tensor([-0.4, -0.2, 0.1, 0.3]), torch.tensor([-1.0, 0.5, 0.0, 2.0])
    assert TSDFBand(0.3)(tsdf, None).tolist() == [False, True, True, False]
    assert OccupancyThreshold(0.25)(tsdf, occupancy).tolist() == [False, True, False, True]
    with pytest.raises(UserError, match=r"heads\.occupancy"):
        OccupancyThreshold()(tsdf, None)


@pytest.mark.parametrize("fusion", [None, {"type": "GRUFusion"}])
def test_a_level_may_be_empty(fusion):
    neck = network(sparsifier={"type": "TSDFBand", "threshold": 0.0}, fusion=fusion)
    heads = {"tsdf": TSDFHead(neck.channels)}
    prediction = run(neck, fragments(1), heads)
    assert len(prediction.levels[0]) == len(prediction.surface) == 0
    sum(level.tsdf.sum() for level in prediction.levels).backward()
    # Data-parallel training waits for every weight's gradient.
    assert all(p.grad is not None for p in neck.parameters())


def test_gradients_reach_every_weight():
    neck = network(fusion={"type": "GRUFusion"}, back_projection={"view_fusion": {"type": "AttentionViewFusion"}})
    heads = torch.nn.ModuleDict({"tsdf": TSDFHead(neck.channels), "occupancy": OccupancyHead(neck.channels)})
    run(neck, fragments(1), heads)
    prediction = run(neck, fragments(1), heads)
    sum(level.tsdf.square().sum() + level.occupancy.square().sum() for level in prediction.levels).backward()
    named = [*neck.named_parameters(), *heads.named_parameters()]
    assert [n for n, p in named if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_automatic_mixed_precision():
    neck = network(fusion={"type": "GRUFusion"}, back_projection={"view_fusion": {"type": "AttentionViewFusion"}})
    heads = torch.nn.ModuleDict({"tsdf": TSDFHead(neck.channels)})
    neck.eval()
    with torch.no_grad():
        full = [run(neck, fragments(1), heads) for _ in range(2)]
        neck.forget()
        with torch.autocast("cpu", torch.bfloat16):
            half = [run(neck, fragments(1), heads) for _ in range(2)]
    for mine, theirs in zip(half, full, strict=True):
        assert torch.equal(mine.levels[1].coords, theirs.levels[1].coords)
        error = (mine.levels[1].tsdf - theirs.levels[1].tsdf).abs().max()
        assert 0 < error < 0.05 * theirs.levels[1].tsdf.abs().max()


def test_an_occupancy_that_is_not_carried_changes_nothing():
    neck = network(carry_occupancy=False).eval()
    heads = {"tsdf": TSDFHead(neck.channels)}
    without = run(neck, fragments(), heads)
    with_head = run(neck, fragments(), heads | {"occupancy": OccupancyHead(neck.channels)})
    assert torch.equal(without.levels[0].tsdf, with_head.levels[0].tsdf)
    assert with_head.levels[0].occupancy.shape == without.levels[0].tsdf.shape


def test_a_memory_takes_one_fragment_at_a_time():
    neck = network(fusion={"type": "GRUFusion"})
    with pytest.raises(UserError, match=r"batch of 2 fragments.*batch_size=1"):
        run(neck, fragments(2))
    neck.fusion_on = False
    assert not run(neck, fragments(2)).levels[0].with_previous


@pytest.mark.parametrize(
    ("settings", "told"), [({"window": (12, 15, 8)}, "does not halve 1 times"), ({"max_voxels": (1, 2, 3)}, "2 netw")]
)
def test_wrong_settings_are_named(settings, told):
    with pytest.raises(UserError, match=told):
        network(**settings)


class _Constant(torch.nn.Module):
    """The same number everywhere at a level."""

    def __init__(self, per_level: tuple[float, ...]):
        super().__init__()
        self.per_level = torch.nn.Parameter(torch.tensor(per_level))

    def forward(self, feats: torch.Tensor, level: int) -> torch.Tensor:
        return feats[:, 0] * 0 + self.per_level[level]


@pytest.mark.parametrize("residual", [False, True])
def test_finer_levels_may_add_to_the_coarser_voxels(residual):
    class Place(_Constant):
        """A coarse level whose TSDF is linear in the place, and differs between samples."""

        def forward(self, feats, level):
            out = super().forward(feats, level)
            if level == 0:
                return out
            sample, x, y, z = torch.meshgrid(*(torch.arange(n) for n in (2, 6, 8, 4)), indexing="ij")
            return out + (sample + 0.2 * x - 0.1 * y + 0.05 * z).reshape(-1)

    head = Place((0.25, -0.5))
    fine = run(network(residual=residual).eval(), fragments(), {"tsdf": head}).levels[0]
    sample, x, y, z = fine.coords.double().unbind(dim=1)
    # Beyond the last coarse voxel there is nothing to interpolate to.
    x, y, z = (v.clamp(max=top) / 2 for v, top in ((x, 10), (y, 14), (z, 6)))
    base = (sample + 0.2 * x - 0.1 * y + 0.05 * z - 0.5) if residual else torch.zeros_like(x)
    torch.testing.assert_close(fine.tsdf.double(), base + 0.25, rtol=0, atol=1e-5)
    fine.tsdf.sum().backward()
    assert head.per_level.grad.tolist() == [len(fine), 0.0]


def test_voxels_of_a_memory_add_to_the_coarser_ones_as_well():
    """All of a fine level's voxels, its own and remembered ones, have a coarser voxel in the memory."""
    torch.manual_seed(2)
    neck = network(residual=True, fusion={"type": "GRUFusion"}).eval()
    first, second = fragments(1), fragments(1)
    second.origin = second.origin + torch.tensor([0.4, 0.0, 0.0])
    head = _Constant((0.25, -0.5))
    neck.sparsifier.threshold = 0.6
    run(neck, first, {"tsdf": head})
    fine, coarse = run(neck, second, {"tsdf": head}, previous=first).levels
    assert len(fine) > 8 * int(coarse.supervised.sum()) // 2 and fine.with_previous
    torch.testing.assert_close(fine.tsdf, torch.full_like(fine.tsdf, -0.25))


@pytest.mark.parametrize("keep_unseen", [True, False])
def test_what_a_memory_keeps_of_space_that_no_view_sees(keep_unseen):
    neck = network(keep_unseen=keep_unseen, fusion={"type": "GRUFusion"}).eval()
    first, second = fragments(1), fragments(1)
    second.origin = second.origin + torch.tensor([0.4, 0.0, -0.6])  # partly behind the cameras
    run(neck, first)
    fine, coarse = run(neck, second, previous=first).levels
    assert coarse.with_previous and bool((coarse.num_views < 2).any())
    for level in (coarse, fine):
        assert bool((level.num_views[level.kept] < 2).any()) == keep_unseen
        assert bool(level.supervised.all()) == (keep_unseen or int(level.num_views.min()) >= 2)


def test_the_phase_with_memory_begins_where_units_alone_have_led():
    neck = network(fusion={"type": "GRUFusion", "gate_alone": True}).eval()
    heads = {"tsdf": TSDFHead(neck.channels)}

    def at_voxels(batch: FragmentBatch) -> dict[tuple[int, ...], float]:
        finest = run(neck, batch, heads).levels[0].of_sample(0)
        return dict(zip(map(tuple, finest.coords.tolist()), finest.tsdf.tolist(), strict=True))

    with_memory = at_voxels(fragments(1))
    neck.fusion_on = False
    assert at_voxels(fragments(1)) == pytest.approx(with_memory, abs=1e-5)
    assert at_voxels(fragments(2)) == pytest.approx(with_memory, abs=1e-5)
    neck.fusion.gate_alone = False
    assert at_voxels(fragments(1)) != pytest.approx(with_memory, abs=1e-3)
