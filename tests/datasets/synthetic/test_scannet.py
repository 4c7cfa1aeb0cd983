"""Rooms in the layout of ScanNet: files, importer, exactness, reproducibility, continuation."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from toolbox.datasets.scenes.scannet import ScanNetScene
from toolbox.datasets.synthetic import make_scannet_scenes
from toolbox.errors import UserError
from toolbox.io import read_depth_png

SIZE = (72, 96)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("scannet") / "set"
    make_scannet_scenes(out, scenes=1, views=5, seed=2, size=SIZE)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files(root):
    names = {"intrinsic_color", "intrinsic_depth", "extrinsic_color", "extrinsic_depth"}
    expected = {f"scene0000_00/intrinsic/{name}.txt" for name in names}
    for view in range(5):
        expected |= {f"scene0000_00/{name}" for name in (f"color/{view}.jpg", f"depth/{view}.png", f"pose/{view}.txt")}
    expected |= {"scene0000_00/scene0000_00_vh_clean_2.ply", "synthetic.json", "README.txt"}
    assert set(contents(root)) == expected


def test_importer_loads_it_and_depth_is_exact(root, warp_error):
    scene = ScanNetScene(root / "scene0000_00")
    assert len(scene.views) == 5
    assert not scene.left_out
    assert scene.unit == "m"
    first, second = scene.views[1], scene.views[3]
    depth = first.depth()
    assert (depth > 0.2).all()
    assert (depth < 8).all()
    views = [(view.image(), view.depth(), view.intrinsics, view.world_to_cam) for view in (first, second)]
    error, same = warp_error(*views)
    assert same.mean() > 0.5
    # At this size a pixel is 3 cm: neighbouring views differ by blur.
    assert np.median(error[same]) < 0.03
    worse, _ = warp_error(*views, scale=1.3)
    assert worse[same].mean() > 1.2 * error[same].mean()


def test_mesh_is_what_the_views_see(root, distance_to_mesh):
    scene = ScanNetScene(root / "scene0000_00")
    mesh = trimesh.load(scene.mesh_path, process=False)
    view = scene.views[2]
    raw = read_depth_png(view.depth_path)
    y, x = (axis.ravel() for axis in np.mgrid[: SIZE[0], : SIZE[1]])
    rays = np.linalg.inv(view.intrinsics) @ np.stack([x, y, np.ones_like(x)])
    points = (rays * raw[y, x] / 1000).T @ view.world_to_cam[:3, :3] + view.centre
    distance = distance_to_mesh(scene.mesh_path, points)
    # Depth is stored in whole millimetres.
    assert np.quantile(distance, 0.95) < 0.001
    assert mesh.vertices[:, 2].min() > -0.01
    assert mesh.visual.vertex_colors.shape == (len(mesh.vertices), 4)


def test_continuing_gives_the_same_bytes_on_one_thread(root):
    whole = contents(root)
    for name in ("color/3.jpg", "depth/0.png", "pose/4.txt"):
        (root / "scene0000_00" / name).unlink()
    make_scannet_scenes(root, scenes=1, views=5, seed=2, size=SIZE, workers=1)
    assert contents(root) == whole


def test_another_data_set_is_refused(root):
    with pytest.raises(UserError, match="holds another data set"):
        make_scannet_scenes(root, scenes=1, views=5, seed=3, size=SIZE)
