"""A run small enough for a test: random views, a network of two convolutions with normalisation and dropout."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from toolbox.engine import ToolboxRunner
from toolbox.registry import DATASETS, MODELS
from toolbox.structures import MultiViewBatch

HEIGHT, WIDTH = 6, 10
_names = itertools.count()


@DATASETS.register_module(force=True)
class TinyViews(Dataset):
    """Five samples of two views, with noise from torch's global generator as augmentation."""

    def __init__(self, with_depth: bool = True):
        self.with_depth = with_depth

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        images = torch.rand(2, 3, HEIGHT, WIDTH, generator=generator) + 0.1 * torch.rand(1)
        return {
            "images": images,
            "intrinsics": torch.eye(3).expand(2, 3, 3).clone(),
            "world_to_cam": torch.eye(4).expand(2, 4, 4).clone(),
            "depth_range": torch.tensor([1.0, 5.0]),
            "depth": 1 + images[0].mean(0) if self.with_depth else None,
            "meta": {"scene": "noise", "view_id": index},
        }


@MODELS.register_module(force=True)
class TinyDepth(BaseModel):
    """Depth from the reference image alone."""

    def __init__(self, channels: int = 4, data_preprocessor: dict | None = None):
        super().__init__(data_preprocessor or {"type": "MultiViewPreprocessor"})
        self.features = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.2)
        self.depth = nn.Conv2d(channels, 1, 1)

    def forward(self, batch: MultiViewBatch, mode: str = "tensor") -> torch.Tensor | dict | list:
        hidden = self.dropout(F.relu(self.norm(self.features(batch.images[:, 0]))))
        depth = self.depth(hidden)[:, 0] + 1.5
        if mode == "tensor":
            return depth
        if mode == "loss":
            return {"loss_depth": (depth.float() - batch.depth).abs().mean()}
        return [
            {
                "depth": depth[i],
                "depth_levels": [depth[i], depth[i, ::2, ::2]],
                "confidence": torch.ones(HEIGHT, WIDTH),
                "gt_depth": None if batch.depth is None else batch.depth[i],
                "depth_range": batch.depth_range[i],
                "image": batch.images[i, 0],
                "meta": batch.meta[i],
            }
            for i in range(len(depth))
        ]


def loader(shuffle: bool, sampler: str = "DefaultSampler", batch_size: int = 2) -> dict:
    return {
        "batch_size": batch_size,
        "num_workers": 0,
        "drop_last": True,
        "sampler": {"type": sampler, "shuffle": shuffle},
        "dataset": {"type": "TinyViews"},
    }


@pytest.fixture(autouse=True)
def unformatted_configs(monkeypatch) -> None:
    """Configs are stored as they are: pretty-printing them takes most of the time of a tiny run."""
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, False))


@pytest.fixture
def tiny_config(tmp_path: Path) -> Callable[..., Config]:
    """A config of the tiny run: ``tiny_config(by_epoch, **changes)``."""

    def make(by_epoch: bool, **changes: object) -> Config:
        base = Config.fromfile(Path(__file__).parents[2] / "configs/_base_/default_runtime.py")
        base.merge_from_dict(
            {
                "experiment_name": f"tiny_{next(_names)}",
                "work_dir": str(tmp_path / "run"),
                "log_level": "WARNING",
                "model": {"type": "TinyDepth"},
                "train_dataloader": loader(True) if by_epoch else loader(True, "InfiniteSampler"),
                "val_dataloader": loader(False),
                "val_cfg": {},
                "val_evaluator": {"type": "DepthMetric", "unit": "m", "thresholds": (0.5,)},
                "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "Adam", "lr": 0.01}},
                "param_scheduler": {"type": "MultiStepLR", "by_epoch": by_epoch, "milestones": [1, 3], "gamma": 0.5},
                "train_cfg": {"by_epoch": True, "max_epochs": 4, "val_interval": 1}
                if by_epoch
                else {"by_epoch": False, "max_iters": 4, "val_interval": 1},
                "default_hooks.pictures": None,
                "default_hooks.checkpoint.by_epoch": by_epoch,
                "default_hooks.checkpoint.max_keep_ckpts": -1,
                "log_processor.by_epoch": by_epoch,
                **changes,
            }
        )
        return base

    return make


@pytest.fixture
def train() -> Callable[[Config], ToolboxRunner]:
    def run(config: Config) -> ToolboxRunner:
        runner = ToolboxRunner.from_cfg(config)
        runner.train()
        return runner

    return run
