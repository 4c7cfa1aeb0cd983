"""Every config of a volumetric network builds and takes two training steps on two fragments of a tiny room."""

import itertools
import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from toolbox.datasets.fragments import KeyframeRule
from toolbox.engine import ToolboxRunner, load_checkpoint_file, load_config
from toolbox.io import write_json
from toolbox.pipelines.fragment_preparation import PreparationJob, PreparationSettings, prepare_fragments
from toolbox.registry import DATASETS, METRICS, MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path for name in ("neuralrecon", "monoselfrecon") for path in (ROOT / "configs" / name).glob("*.py"))
WINDOW = {"shape": (16, 16, 16), "voxel_size": 0.16}
SELF_SUPERVISED = [path for path in CONFIGS if path.stem.startswith("self")]
_names = itertools.count()


@pytest.fixture(scope="module")
def prepared(room_folder, tmp_path_factory) -> Path:
    """The first two fragments of a room, of four views of 48 x 64 pixels, with TSDF."""
    folder = tmp_path_factory.mktemp("prepared") / "fragments"
    settings = PreparationSettings(rule=KeyframeRule(views=4), voxel_size=WINDOW["voxel_size"])
    prepare_fragments(PreparationJob(room_folder, folder / "room", settings))
    content = json.loads((folder / "room/fragments.json").read_text())
    assert len(content["fragments"]) >= 2
    write_json(folder / "room/fragments.json", content | {"fragments": content["fragments"][:2]})
    return folder


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


def unreached(config: Config) -> tuple[str, ...]:
    """Beginnings of the names of weights that no loss of the config reaches."""
    neck, mpi = config.model.neck, config.model.heads.get("mpi", {})
    decoder = mpi.get("decoder", {})
    others = sorted(decoder.get("output_levels", (0,)))[1:]
    return (
        *(() if neck.get("fusion_on", True) else ["neck.fusion."]),
        *(() if neck.get("carry_occupancy", True) else ["heads.occupancy."]),
        *(() if "MPI" in str(config.model.losses) else ["heads.mpi."]),
        *(f"heads.mpi.decoder.outputs.{level}." for level in others),
    )


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
    changed = {name: not torch.equal(before[name], p) for name, p in model.named_parameters()}
    assert not any(moved for name, moved in changed.items() if name.startswith(unreached(config)))
    reached = {name: moved for name, moved in changed.items() if not name.startswith(unreached(config))}
    assert sum(reached.values()) > 0.9 * len(reached), [name for name, moved in reached.items() if not moved]


@pytest.mark.parametrize("path", SELF_SUPERVISED, ids=lambda p: p.stem)
def test_training_without_ground_truth_reads_none(path, prepared, room_folder, tmp_path):
    """Samples are the same where neither depth maps nor volumes are left."""
    config = load_config(path)
    assert "WeakSupervisionLoss" not in str(config.model.losses)
    assert config.default_hooks.checkpoint.save_best is None
    dataset = shrunk(config, prepared).train_dataloader.dataset
    assert not dataset.get("read_depth", False) and dataset.read_tsdf is False
    shutil.copytree(room_folder, tmp_path / "room", ignore=shutil.ignore_patterns("depth"))
    content = json.loads((prepared / "room/fragments.json").read_text())
    write_json(tmp_path / "fragments/room/fragments.json", content | {"root": str(tmp_path / "room")})
    assert not (tmp_path / "room/depth").exists()
    bare = tmp_path / "fragments"
    whole, without = (DATASETS.build({**dataset, "prepared": str(folder)})[0, 0] for folder in (prepared, bare))
    assert {"tsdf", "occupancy", "depth"}.isdisjoint(whole)
    assert whole.keys() == without.keys()
    assert torch.equal(whole["images"], without["images"])


def train(name: str, prepared: Path, work_dir: Path, **changes: object) -> ToolboxRunner:
    """Train a shrunk config."""
    config = shrunk(load_config(ROOT / f"configs/monoselfrecon/{name}.py"), prepared)
    loader = {"train_dataloader.num_workers": 0, "train_dataloader.persistent_workers": False}
    names = {"work_dir": str(work_dir), "experiment_name": f"volumetric_{next(_names)}", "log_level": "WARNING"}
    config.merge_from_dict({**loader, **names, "optim_wrapper.optimizer.lr": 1e-3, **changes})
    runner = ToolboxRunner.from_cfg(config)
    runner.train()
    return runner


def test_both_phases_in_one_run_are_the_phases_one_after_the_other(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, False))
    hook = load_config(ROOT / "configs/monoselfrecon/self.py").custom_hooks[0]
    once = train(
        "self",
        prepared,
        tmp_path / "once",
        **{"train_cfg.max_epochs": 2, "custom_hooks": [{**hook, "fusion_epoch": 1}]},
    )
    train("self_warmup", prepared, tmp_path / "warmup", **{"train_cfg.max_epochs": 1})
    resumed = {"load_from": str(tmp_path / "warmup/epoch_1.pth"), "resume": True, "train_cfg.max_epochs": 2}
    after = train("self_gru", prepared, tmp_path / "gru", **resumed)
    assert once.iter == after.iter == 4 and once.model.neck.fusion_on
    torch.testing.assert_close(once.model.state_dict(), after.model.state_dict(), rtol=0, atol=0)
    memory = load_checkpoint_file(resumed["load_from"])["state_dict"]["neck.fusion.cells.0.update.linear.bias"]
    assert not torch.equal(memory, after.model.neck.fusion.cells[0].update.linear.bias)


def test_paper_size():
    """Channels and windows of the papers; NeuralRecon's levels weigh 1, 0.8, 0.64 from the coarsest to the finest."""
    for name, parameters in (("neuralrecon/neuralrecon", 8_340_326), ("monoselfrecon/self", 11_081_687)):
        with torch.device("meta"):
            model = MODELS.build(load_config(ROOT / f"configs/{name}.py").model)
        assert sum(p.numel() for p in model.parameters()) == parameters
        assert model.neck.channels == (24, 48, 96)
        assert model.neck.window == (96, 96, 96)
    losses = load_config(ROOT / "configs/neuralrecon/neuralrecon.py").model.losses
    assert losses.truth.level_weights == (0.64, 0.8, 1.0)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_parts_of_the_run_are_there(path):
    """The runner finds every part it builds from the config, and the meshes' metric its fragments in order."""
    config = load_config(path)
    for key in ("model", "train_dataloader", "optim_wrapper", "train_cfg", "test_dataloader", "test_cfg"):
        assert key in config, key
    METRICS.build(config.test_evaluator)
    assert config.find_unused_parameters is True
    for loader in (config.train_dataloader, config.test_dataloader):
        assert (loader.batch_size, loader.sampler.type) == (1, "SceneOrderSampler")
        assert loader.dataset.window == config.train_dataloader.dataset.window
    assert config.test_dataloader.sampler.round_up is False
