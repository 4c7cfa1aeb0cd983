"""With ``read_depth=False`` ground truth makes no difference: samples are the same without its files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from toolbox.datasets import MVSDataset, build_scenes
from toolbox.datasets.synthetic import make_dtu_scenes, make_scannet_scenes
from toolbox.errors import UserError
from toolbox.io import write_json

LAYOUTS = ("DTUTraining", "ScanNetScene", "FolderScene")


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> Path:
    """The same kind of thing in three layouts, each with depth in a folder of its own."""
    folder = tmp_path_factory.mktemp("captures")
    make_dtu_scenes(folder / "DTUTraining", scenes=1, views=4, seed=3, size=(36, 52), lightings=2, workers=1)
    make_scannet_scenes(folder / "rooms", scenes=1, views=8, seed=3, size=(36, 52), workers=1)
    (folder / "rooms" / "scene0000_00").rename(folder / "ScanNetScene")
    _write_folder_scene(folder / "DTUTraining", folder / "FolderScene")
    return folder


def _write_folder_scene(dtu: Path, out: Path) -> None:
    views = []
    for view in build_scenes({"type": "DTUTraining", "root": dtu, "lightings": [1]})[0].views:
        for kind, source in (("images", view.image_path), ("depth", view.depth_path)):
            (out / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, out / kind / f"{view.id}{source.suffix}")
        views.append(
            {
                "id": view.id,
                "image": f"images/{view.id}.png",
                "depth": f"depth/{view.id}.pfm",
                "intrinsics": view.intrinsics.tolist(),
                "world_to_cam": view.world_to_cam.tolist(),
                "depth_range": list(view.depth_range),
            }
        )
    write_json(out / "cameras.json", {"unit": "mm", "views": views})


def depth_folder(root: Path) -> Path:
    return next(root / name for name in ("Depths", "depth") if (root / name).is_dir())


def samples(layout: str, root: Path, **options: Any) -> list[dict]:
    """What training sees, with everything random in it."""
    depth_range = (0.3, 6.0) if layout == "ScanNetScene" else None
    dataset = MVSDataset(
        {"type": layout, "root": root, **options},
        num_sources=2,
        extra_sources=1,
        size=(32, 48),
        read_depth=False,
        depth_range=depth_range,
        transforms=[{"type": "ColourJitter"}],
    )
    torch.manual_seed(4)
    return [dataset[k] for k in range(len(dataset))]


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    else:
        assert a == b


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def spoil(folder: Path) -> None:
    """Files that any attempt to read would trip over."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(b"not a depth map")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", [remove, spoil])
def test_samples_are_the_same(layout: str, change: Callable[[Path], None], captures: Path, tmp_path: Path):
    root = shutil.copytree(captures / layout, tmp_path / layout)
    before = samples(layout, root)
    change(depth_folder(root))
    after = samples(layout, root, depth=False)
    assert len(before) == len(after) >= 4
    for a, b in zip(before, after, strict=True):
        assert a["depth"] is None
        assert_equal(a, b)
    if layout != "FolderScene" and change is remove:
        for a, b in zip(before, samples(layout, root), strict=True):
            assert_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_comparison_would_notice(layout: str, captures: Path, tmp_path: Path):
    """The depth is there and is read where asked for; an image that changes changes the samples."""
    root = shutil.copytree(captures / layout, tmp_path / layout)
    config = {"type": layout, "root": root}
    read = MVSDataset(config, depth_range=(0.3, 1000.0))[0]["depth"]
    assert (read > 0).float().mean() > 0.3
    before = samples(layout, root)
    image = build_scenes(config)[0].views[0].image_path
    shutil.copy(build_scenes(config)[0].views[1].image_path, image)
    assert not np.array_equal(samples(layout, root)[0]["images"], before[0]["images"])


def test_a_named_depth_map_that_is_missing_is_told_where_depth_is_wanted(captures: Path, tmp_path: Path):
    root = shutil.copytree(captures / "FolderScene", tmp_path / "scene")
    remove(root / "depth")
    with pytest.raises(UserError, match=r"0\.pfm: does not exist, .*load with depth=False"):
        build_scenes({"type": "AnyScene", "path": root})
    (scene,) = build_scenes({"type": "AnyScene", "path": root, "depth": False})
    assert all(view.depth_path is None for view in scene.views)
