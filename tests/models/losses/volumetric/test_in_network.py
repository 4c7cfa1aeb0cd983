"""All losses on the fragments of a procedural room, through the whole network."""

from dataclasses import replace

import pytest
import torch
from mmengine.dataset import pseudo_collate

from toolbox.datasets.fragments import FragmentDataset
from toolbox.datasets.scenes import ScanNetScene
from toolbox.datasets.synthetic import make_scannet_scenes
from toolbox.registry import MODELS

WINDOW = {"voxel_size": 0.16, "shape": (16, 16, 16)}
LOSSES = {
    "photometric": {"type": "SDFConsistencyLoss"},
    "planar": {"type": "SuperpixelPlanarLoss", "min_points": 20},
    "mpi_disparity": {"type": "MPIDisparityLoss"},
    "mpi_colour": {"type": "MPIColourLoss"},
    "mpi_ssim": {"type": "MPISSIMLoss"},
    "mpi_smooth": {"type": "MPISmoothnessLoss"},
    "mpi_edge": {"type": "MPIEdgeLoss"},
}
MODEL = {
    "type": "VolumetricReconstructor",
    "backbone": {"type": "ResNet18FPN", "channels": 4, "width": 8},
    "neck": {
        "type": "CoarseToFine",
        "networks": [{"type": "SPVCNN", "width": width} for width in (0.0625, 0.0625, 0.125)],
        "window": WINDOW["shape"],
        "voxel_size": WINDOW["voxel_size"],
        "sparsifier": {"type": "TSDFBand", "threshold": 1.0},
        "max_voxels": (256, 128, 64),
        "fusion": {"type": "GRUFusion"},
    },
    "heads": {
        "tsdf": {"type": "TSDFHead"},
        "mpi": {
            "type": "MPIHead",
            "num_planes": 4,
            "decoder": {"channels": (8, 8, 8), "context_channels": (8, 8, 8, 8), "frequencies": 3},
        },
    },
    "losses": LOSSES,
}


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> list:
    """Two fragments of one scene with superpixels, as the data set and the preprocessor make them."""
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=10, seed=3, size=(48, 64), workers=1)
    data = FragmentDataset(
        ScanNetScene(root / "scene0000_00"),
        window=WINDOW,
        size=(48, 64),
        rule={"min_distance": 0.02, "views": 4},
        transforms=[{"type": "Superpixels", "min_size": 10, "cache": root / "cache"}],
    )
    preprocess = MODELS.build({"type": "FragmentPreprocessor"})
    return [preprocess(pseudo_collate([data[i]]))["batch"] for i in range(2)]


def test_every_loss_reaches_the_network(batches):
    torch.manual_seed(0)
    model = MODELS.build(MODEL)
    for number, batch in enumerate(batches):
        losses = model(batch, mode="loss")
        assert sorted(losses) == sorted(f"loss_{name}" for name in LOSSES)
        assert all(torch.isfinite(value) and value > 0 for value in losses.values()), losses
        assert (model.reconstruct(batch).previous is not None) == (number > 0)
    sum(losses.values()).backward()
    for part in (model.heads.mpi, model.heads.tsdf, model.backbone, model.neck.networks):
        gradients = [p.grad for p in part.parameters() if p.requires_grad]
        assert all(g is None or torch.isfinite(g).all() for g in gradients)
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


def test_photometric_training_lowers_the_error(batches):
    """Eight steps on one fragment, from the photometric term alone."""
    torch.manual_seed(0)
    model = MODELS.build(
        {**MODEL, "losses": {"photometric": LOSSES["photometric"]}, "heads": {"tsdf": {"type": "TSDFHead"}}}
    )
    model.neck.fusion_on = False
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    values = []
    for _ in range(8):
        model.forget()
        loss = model(batches[0], mode="loss")["loss_photometric"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert values[-1] < 0.95 * values[0], values


def test_mixed_precision_changes_no_loss_by_much(batches):
    """Positions, warps and losses are computed in float32: what differs are the features."""
    torch.manual_seed(0)
    losses = {**LOSSES, "truth": {"type": "WeakSupervisionLoss"}}
    heads = {**MODEL["heads"], "occupancy": {"type": "OccupancyHead"}}
    model = MODELS.build({**MODEL, "losses": losses, "heads": heads}).eval()
    found, disparities = {}, []
    model.heads.mpi.decoder.register_forward_pre_hook(lambda _, inputs: disparities.append(inputs[1]))
    for mixed in (False, True):
        model.forget()
        for batch in batches:
            known = [torch.full((1, *(n >> level for n in WINDOW["shape"])), 0.4) for level in range(3)]
            batch = replace(batch, tsdf=known, occupancy=[volume > 0 for volume in known])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
                prediction = model.reconstruct(batch)
                values = model._losses(prediction, batch)
            assert all(level.tsdf.dtype == level.positions().dtype == torch.float32 for level in prediction.levels)
            found.setdefault(mixed, []).append({name: value.item() for name, value in values.items()})
    for full, half in zip(found[False], found[True], strict=True):
        assert half == pytest.approx(full, rel=0.03)
    assert found[True] != found[False]
    assert all(torch.equal(values, disparities[0]) for values in disparities)  # not rounded before they are embedded
    sum(values.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
