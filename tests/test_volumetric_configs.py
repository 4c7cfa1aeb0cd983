"""Every config of a volumetric network builds and takes two training steps on two fragments of a tiny room."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from toolbox.datasets.fragments import KeyframeRule
from toolbox.datasets.synthetic import make_scannet_scenes
from toolbox.engine import load_config
from toolbox.pipelines.fragment_preparation import PreparationJob, PreparationSettings, prepare_fragments
from toolbox.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path for name in ("neuralrecon", "monoselfrecon") for path in (ROOT / "configs" / name).glob("*.py"))
WINDOW = {"shape": (16, 16, 16), "voxel_size": 0.16}
# What the losses of a config do not reach: the memory while it is off.
UNREACHED = {"self_warmup": ("neck.fusion.",), "weak_warmup": ("neck.fusion.",)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Fragments of four views of a room, 48 x 64 pixels, with TSDF."""
    root = tmp_path_factory.mktemp("rooms")
    make_scannet_scenes(root, scenes=1, views=12, seed=3, size=(48, 64), workers=1)
    settings = PreparationSettings(rule=KeyframeRule(min_distance=0.02, views=4), voxel_size=WINDOW["voxel_size"])
    job = PreparationJob(root / "scene0000_00", root / "fragments" / "scene0000_00", settings)
    assert prepare_fragments(job)["fragments"] >= 2
    return root / "fragments"


def shrunk(config: Config, prepared: Path) -> Config:
    """The config with a small network and window, on the tiny room's fragments."""
    config = deepcopy(config)
    model = config.model
    model.backbone.weights = None
    model.backbone.update({"alpha": 0.25} if model.backbone.type == "MnasNetFPN" else {"channels": 4, "width": 8})
    for network, width in zip(model.neck.networks, (0.0625, 0.0625, 0.125), strict=True):
        network.width = width
    model.neck.update(window=WINDOW["shape"], voxel_size=WINDOW["voxel_size"], max_voxels=(256, 128, 64))
    # Random weights keep few voxels, and tiny images give few points.
    model.neck.sparsifier.threshold = 1.0 if model.neck.sparsifier.type == "TSDFBand" else -10.0
    if "mpi" in model.heads:
        decoder = {"channels": (8, 8, 8), "context_channels": (8, 8, 8, 8), "frequencies": 3}
        model.heads.mpi.update(num_planes=4, decoder={**model.heads.mpi.get("decoder", {}), **decoder})
    for name in {"planar"} & set(model.losses):
        model.losses[name].min_points = 20
    dataset = config.train_dataloader.dataset
    for source in ("scenes", "names", "rule"):
        dataset.pop(source, None)
    dataset.update(prepared=str(prepared), window={**dataset.window, **WINDOW}, size=(48, 64))
    for transform in dataset.get("transforms", []):
        if transform.type == "Superpixels":
            transform.update(min_size=10, cache=str(prepared.parent / "cache"))
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_two_training_steps(path, prepared):
    config = shrunk(load_config(path), prepared)
    model, dataset = MODELS.build(config.model).train(), DATASETS.build(config.train_dataloader.dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(2):
        losses = model(**model.data_preprocessor(pseudo_collate([dataset[step, 0]]), True), mode="loss")
        assert sorted(losses) == sorted(f"loss_{name}" for name in config.model.losses)
        assert all(torch.isfinite(value) and value > 0 for value in losses.values()), losses
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    unreached = UNREACHED.get(path.stem, ())
    changed = {name: not torch.equal(before[name], p) for name, p in model.named_parameters()}
    assert not any(moved for name, moved in changed.items() if name.startswith(unreached or ("-",)))
    reached = [moved for name, moved in changed.items() if not name.startswith(unreached or ("-",))]
    assert sum(reached) > 0.9 * len(reached), [name for name, moved in changed.items() if not moved]
