"""Tabletops in the layout of DTU: files, importers, exactness, reproducibility, continuation."""

import json
from pathlib import Path

import numpy as np
import pytest

from toolbox.datasets.scenes.dtu import DTUTraining
from toolbox.datasets.scenes.mvsnet import MVSNetScene
from toolbox.datasets.synthetic import make_dtu_scenes
from toolbox.errors import UserError
from toolbox.io import read_cam_txt, read_image, read_pair_txt, read_pfm
from toolbox.structures import View

SIZE = (48, 64)


def make(out: Path, **changes) -> Path:
    arguments = {"scenes": 1, "views": 4, "seed": 7, "size": SIZE, "lightings": 2, "test_scenes": 1}
    make_dtu_scenes(out, **{**arguments, **changes})
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("dtu") / "set")


def parts(view: View) -> tuple[np.ndarray, ...]:
    return view.image(), view.depth(), view.intrinsics, view.world_to_cam


def test_files(root):
    expected = {f"Cameras/{view:08d}_cam.txt" for view in range(4)} | {"Cameras/pair.txt"}
    expected |= {
        f"Rectified/scan1_train/rect_{view + 1:03d}_{light}_r5000.png" for view in range(4) for light in (0, 1)
    }
    expected |= {f"Depths/scan1_train/depth_map_{view:04d}.pfm" for view in range(4)}
    expected |= {f"scan2/images/{view:08d}.jpg" for view in range(4)} | {"scan2/pair.txt"}
    expected |= {f"scan2/cams/{view:08d}_cam.txt" for view in range(4)}
    expected |= {f"scan2/depth_gt/{view:08d}.pfm" for view in range(4)}
    expected |= {"Meshes/scan1.ply", "Meshes/scan2.ply", "synthetic.json", "README.txt"}
    assert set(contents(root)) == expected
    assert read_image(root / "Rectified/scan1_train/rect_002_1_r5000.png").shape == (*SIZE, 3)
    assert read_pfm(root / "Depths/scan1_train/depth_map_0003.pfm").shape == SIZE


def test_cameras_and_pairs(root):
    cam = read_cam_txt(root / "Cameras/00000002_cam.txt")
    assert (cam.depth_min, cam.num_depths, cam.depth_max) == (425.0, 192, 935.0)
    assert cam.depth_min + cam.depth_interval * (cam.num_depths - 1) == pytest.approx(935.0)
    pairs = read_pair_txt(root / "Cameras/pair.txt")
    assert sorted(pairs) == [0, 1, 2, 3]
    for reference, sources in pairs.items():
        assert sorted([reference, *(source for source, _ in sources)]) == [0, 1, 2, 3]
        scores = [score for _, score in sources]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > 50


def test_importers_load_it_and_depth_is_exact(root, warp_error):
    bright, dark = DTUTraining(root)
    held_out = MVSNetScene(root / "scan2", unit="mm")
    for scene in (bright, dark, held_out):
        assert len(scene.views) == 4
        assert not scene.left_out
        assert scene.unit == "mm"
        reference = scene.views[1]
        source = scene.view(scene.pairs[1][0][0])
        assert reference.depth_range == pytest.approx((425.0, 935.0))
        error, same = warp_error(parts(reference), parts(source))
        assert same.sum() > 0.5 * (reference.depth() > 0).sum()
        # Lighting and texture agree between views; noise, and blur at this size, remain.
        assert np.median(error[same]) < 0.03
        worse, _ = warp_error(parts(reference), parts(source), scale=1.05)
        assert worse[same].mean() > 1.3 * error[same].mean()


def test_depth_lies_on_the_mesh(root, distance_to_mesh):
    view = MVSNetScene(root / "scan2").views[0]
    depth = view.depth()
    y, x = np.nonzero(depth > 0)
    rays = np.linalg.inv(view.intrinsics) @ np.stack([x, y, np.ones_like(x)])
    points = (rays * depth[y, x]).T @ view.world_to_cam[:3, :3] + view.centre
    distance = distance_to_mesh(root / "Meshes/scan2.ply", points)
    # The mesh lacks triangles whose centre no camera sees.
    assert np.quantile(distance, 0.95) < 0.01
    assert distance.max() < 5


def test_lightings_differ(root):
    first, second = (read_image(root / f"Rectified/scan1_train/rect_001_{light}_r5000.png") for light in (0, 1))
    assert np.abs(first.astype(int) - second).mean() > 3


def test_same_seed_same_bytes_on_any_number_of_threads(root, tmp_path):
    again = make(tmp_path / "again", workers=1)
    assert contents(again) == contents(root)
    other = make(tmp_path / "other", workers=3, seed=8, test_scenes=0, lightings=1, views=1)
    assert contents(other)["Meshes/scan1.ply"] != contents(root)["Meshes/scan1.ply"]


def test_an_interrupted_run_is_continued(root, tmp_path):
    out = make(tmp_path / "set")
    whole = contents(out)
    kept = out / "Depths/scan1_train/depth_map_0000.pfm"
    stamp = kept.stat().st_mtime_ns
    for name in ("Rectified/scan1_train/rect_002_0_r5000.png", "scan2/depth_gt/00000003.pfm", "Meshes/scan1.ply"):
        (out / name).unlink()
    make(out)
    assert contents(out) == whole
    assert kept.stat().st_mtime_ns == stamp


def test_another_data_set_is_refused(root, tmp_path):
    before = contents(root)
    with pytest.raises(UserError, match=r"views 4 instead of 5"):
        make(root, views=5)
    assert contents(root) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        make(tmp_path)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "synthetic.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match="does not describe"):
        make(tmp_path / "odd")
    with pytest.raises(UserError, match="is no folder"):
        make(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    "changes",
    [{"views": 0}, {"scenes": -1}, {"scenes": 0, "test_scenes": 0}, {"lightings": 8}, {"size": (48, 8)}, {"seed": -1}],
    ids=str,
)
def test_numbers_out_of_range(tmp_path, changes):
    with pytest.raises(UserError):
        make(tmp_path / "set", **changes)
    assert not (tmp_path / "set").exists()
