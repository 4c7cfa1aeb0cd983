"""Published MonoSelfRecon inputs and weights, for the tests of it."""

from pathlib import Path

import torch
from torch import Tensor

from toolbox.engine import convert_monoselfrecon, load_config
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.registry import MODELS
from toolbox.structures import FragmentBatch, VolumetricPrediction

CONFIGS = Path(__file__).resolve().parents[2] / "configs/monoselfrecon"


def golden(shared: Path, name: str) -> dict:
    return torch.load(shared / f"golden/msr/{name}.pt", weights_only=True)


def published_weights(shared: Path, overrides: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """All weights as one program of several processes would write them."""
    neck = golden(shared, "neucon_weights_a")["state_dict"] | golden(shared, "neucon_weights_b")["state_dict"]
    neck |= overrides or {}
    backbone = golden(shared, "backbone")["state_dict"]
    weights = {f"backbone2d.{name}": value for name, value in backbone.items()}
    weights |= {f"neucon_net.{name}": value for name, value in neck.items()}
    weights |= {f"nerf.{name}": value for name, value in golden(shared, "mpi")["decoder"]["state_dict"].items()}
    return {f"module.{name}": value.float() for name, value in weights.items()}


def official_network(weak: bool, window: list[int], fusion_on: bool, **cell: bool) -> VolumetricReconstructor:
    """The official config's network, with another window, and ``cell`` of its memory's options changed."""
    model = load_config(CONFIGS / f"{'weak' if weak else 'self'}_official.py").model
    model.neck.update(window=window, fusion_on=fusion_on)
    model.neck.fusion.update(cell)
    return MODELS.build(model).eval()


def loaded(shared: Path, network: VolumetricReconstructor, overrides: dict[str, Tensor] | None = None):
    network.load_state_dict(convert_monoselfrecon(published_weights(shared, overrides)))
    return network


def fragment_batch(fragment: dict, first: bool = True) -> FragmentBatch:
    return FragmentBatch(
        images=_enlarged(fragment["imgs_small"].float() / 255, 4)[None],
        intrinsics=fragment["intrinsics"],
        world_to_cam=torch.linalg.inv(fragment["extrinsics"]),
        origin=fragment["vol_origin_partial"],
        world_to_aligned_camera=fragment["world_to_aligned_camera"],
        tsdf=[volume.float() for volume in fragment["tsdf_list"]],
        occupancy=[volume.bool() for volume in fragment["occ_list"]],
        meta=[{"scene": fragment["scene"], "first": first}],
    )


def predict(
    network: VolumetricReconstructor, fragment: dict, batch: FragmentBatch, previous: FragmentBatch | None = None
) -> VolumetricPrediction:
    """From the stored image features; the published backbone is not asked."""
    features = []
    for level in range(3):
        stored = fragment[f"feat_base_scale{level}"].float()
        features.append(_enlarged(stored, (480 >> level) // stored.shape[2])[None])
    with torch.no_grad():
        return network.neck(features, (1, 2, 4), False, batch, network.heads, previous)


def _enlarged(images: Tensor, factor: int) -> Tensor:
    return images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def by_voxel(coords: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted by coordinates."""
    order = coords.long()
    keys = ((order + 1024) * torch.tensor([4096**i for i in reversed(range(order.shape[1]))])).sum(dim=1)
    rows = keys.argsort()
    return order[rows], values[rows]


def assert_same(coords: Tensor, values: Tensor, expected_coords: Tensor, expected: Tensor, tolerance: float = 1e-3):
    """Coordinates equal as sets, values to ``tolerance`` of the largest."""
    ours, theirs = by_voxel(coords, values), by_voxel(expected_coords, expected.reshape(values.shape))
    assert torch.equal(ours[0], theirs[0])
    assert (ours[1] - theirs[1]).abs().max() <= tolerance * theirs[1].abs().max()
