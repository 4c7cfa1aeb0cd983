"""Fragments substitute their window of the scene."""

import pytest
import torch

from toolbox.errors import UserError
from toolbox.fusion import SceneVolume

WINDOW = (4, 6, 8)


def two_fragments(**settings) -> SceneVolume:
    """The second window begins two voxels farther along x; (3, 1, 1) of the first lies in both."""
    scene = SceneVolume(0.1, **settings)
    first = torch.tensor([[0, 0, 0], [3, 1, 1], [2, 2, 2], [1, 5, 7]])
    scene.substitute(first, torch.tensor([0.5, -0.25, 0.75, -1.5]), torch.tensor([1.0, 2.0, -0.3]), WINDOW)
    second = torch.tensor([[0, 2, 2], [3, 0, 0], [0, 0, 0]])
    tsdf = torch.tensor([-0.125, 0.0625, 1.75])
    scene.substitute(second, tsdf, torch.tensor([1.20001, 2.0, -0.3]), WINDOW)
    return scene


def values(scene: SceneVolume) -> dict:
    return {tuple(c): f.item() for c, f in zip(scene.voxels.coords.tolist(), scene.voxels.feats, strict=True)}


def test_the_later_fragment_wins_and_the_rest_stays():
    scene = two_fragments()
    assert values(scene) == {(0, 0, 0): 0.5, (3, 1, 1): -0.25, (2, 2, 2): -0.125, (5, 0, 0): 0.0625}
    assert len(scene) == 4


def test_a_voxel_that_a_later_fragment_finds_far_from_the_surface_goes():
    scene = two_fragments()
    scene.substitute(torch.tensor([[3, 1, 1]]), torch.tensor([1.25]), torch.tensor([1.0, 2.0, -0.3]), WINDOW)
    assert (3, 1, 1) not in values(scene)
    assert len(scene) == 3


def test_the_published_program_forgets_what_a_window_does_not_repeat():
    published = two_fragments(published_forgetting=True)
    assert values(published) == {
        (0, 0, 0): 0.5, (3, 1, 1): 1.0, (2, 2, 2): -0.125, (5, 0, 0): 0.0625
    }  # fmt: skip


def test_the_dense_volume_knows_what_is_known():
    volume = two_fragments().dense()
    assert volume.tsdf.shape == volume.weight.shape == (6, 3, 3)
    torch.testing.assert_close(volume.origin, torch.tensor([1.0, 2.0, -0.3]).double())
    assert volume.tsdf[3, 1, 1] == -0.25
    assert volume.weight.sum() == 4
    assert (volume.tsdf[volume.weight == 0] == 1).all()


def test_nothing_is_nothing():
    scene = SceneVolume(0.1, threshold=0.05)
    with pytest.raises(UserError, match="no voxels"):
        scene.dense()
    scene.substitute(torch.tensor([[1, 1, 1]]), torch.tensor([0.5]), torch.zeros(3), WINDOW)
    with pytest.raises(UserError, match="no voxels"):
        scene.dense()


@pytest.mark.parametrize("variant", ["self", "gt"])
def test_published_scenes(shared, variant):
    inputs, fresh = (
        torch.load(shared / f"golden/msr/{name}.pt", weights_only=True)
        for name in ("neucon_fusion", "neucon_fusion_fresh")
    )
    kept, forgetful = (SceneVolume(0.04, 0.3, published_forgetting=forgets) for forgets in (False, True))
    for number, expected in enumerate(fresh[variant]["eval"]):
        window, origin = tuple(inputs["n_vox"].tolist()), inputs[f"frag{number}"]["vol_origin_partial"][0]
        for scene in (kept, forgetful):
            scene.substitute(expected["coords"][:, 1:], expected["tsdf"][:, 0], origin, window)
        for scene in (kept, forgetful):
            # The published origin is told from the scene's.
            volume, corner = scene.dense(), expected["scene_origin"] + inputs["frag0"]["vol_origin"][0]
            assert volume.tsdf.shape == expected["scene_tsdf"].shape
            torch.testing.assert_close(volume.origin.float(), corner)
        assert torch.equal(forgetful.dense().tsdf, expected["scene_tsdf"])
        assert len(forgetful) == len(expected["scene_coords"])
        # What the fragment predicts near the surface is the same in both.
        near = (expected["scene_tsdf"].abs() < 0.3) & (forgetful.dense().weight > 0)
        assert torch.equal(kept.dense().tsdf[near], expected["scene_tsdf"][near])
        assert (number == 1) == bool((kept.dense().tsdf != forgetful.dense().tsdf).any())
