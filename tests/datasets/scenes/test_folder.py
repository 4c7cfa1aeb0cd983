"""The generic folder format, as docs/scenes.md shows it."""

import json
import re
from pathlib import Path

import numpy as np

from toolbox.datasets.scenes import FolderScene
from toolbox.io import write_depth_png, write_image

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "scenes.md"


def test_the_documented_example_loads(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "cameras.json").write_text(example)
    for view in json.loads(example)["views"]:
        write_image(tmp_path / view["image"], np.zeros((1080, 1920, 3), np.uint8))
    write_depth_png(tmp_path / "depth" / "0000.png", np.full((1080, 1920), 1234, np.uint16))
    (tmp_path / "truth.ply").write_text("ply")
    scene = FolderScene(tmp_path)
    assert scene.name == "garage" and scene.unit == "m" and scene.mesh_path == tmp_path / "truth.ply"
    assert [view.id for view in scene.views] == [0, 7]
    assert scene.pairs == {0: [(7, 1.0)], 7: [(0, 12.5)]}
    np.testing.assert_array_equal(scene.view(0).intrinsics, [[1401.2, 0, 959.5], [0, 1399.8, 537.0], [0, 0, 1]])
    assert scene.view(7).intrinsics[1, 2] == 540.25 and scene.view(7).depth_range == (0.4, 6.0)
    np.testing.assert_allclose(scene.view(0).depth(), 1.234, rtol=1e-6)
    assert scene.view(7).depth() is None
    np.testing.assert_allclose(scene.view(7).centre, [0.1, 0, 0])


def test_depth_on_a_grid_of_its_own(truth, write, edit_json, tmp_path):
    root = write.folder(truth, tmp_path)
    half = truth.intrinsics.copy()
    half[:2] *= 0.5
    half[:2, 2] -= 0.25
    write_depth_png(root / "depth" / "002.png", truth.depths[2][::2, ::2])
    edit_json(root / "cameras.json", lambda content: content["views"][2].update(depth_intrinsics=half.tolist()))
    view = FolderScene(root).view(2)
    np.testing.assert_allclose(view.depth()[1::2, 1::2], truth.depths[2][::2, ::2] * 0.001, rtol=1e-6)
