"""The format is recognised from the files."""

import numpy as np
import pytest

from toolbox.datasets.scenes import open_scene
from toolbox.errors import UserError
from toolbox.io import write_depth_png, write_image
from toolbox.registry import SCENES

FORMATS = ["scannet", "sens", "seven_scenes", "mvsnet", "dtu", "transforms", "folder", "colmap"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_recognised(format, truth, write, tmp_path):
    path = getattr(write, format)(truth, tmp_path / "scene")
    options = write.seven_scenes_calibration if format == "seven_scenes" else {}
    scene = open_scene(path, cache_dir=tmp_path / "cache", **options)
    assert len(scene.views) == 6
    if path.is_file():
        assert len(open_scene(path.parent).views) == 6


def test_unknown_formats_list_what_was_looked_for(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(
        UserError, match=r"Looked for: cameras.json .*transforms.json.*color/.*\.sens.*frame-.*cams/"
    ) as e:
        open_scene(tmp_path)
    assert "docs/scenes.md" in e.value.remedy
    with pytest.raises(UserError, match="does not exist"):
        open_scene(tmp_path / "nowhere")
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="no scene of a known format"):
        open_scene(tmp_path / "other.json")


def test_importers_by_name_and_their_options(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    assert [view.id for view in open_scene(root, "ScanNetScene", every=2).views] == [0, 2, 4]
    with pytest.raises(UserError, match=r"'evry'.*Options of ScanNetScene: every, depth"):
        open_scene(root, evry=2)
    with pytest.raises(UserError, match=r"Nearest registered names: .*ScanNetScene"):
        open_scene(root, "ScanNet")
    assert {"ColmapScene", "DTUTraining", "FolderScene", "ScanNetSens", "TransformsScene"} <= set(SCENES.names())
    assert len(SCENES.build({"type": "ScanNetScene", "root": root}).views) == 6


def test_a_training_set_is_several_scenes(truth, write, tmp_path):
    root = write.dtu(truth, tmp_path)
    with pytest.raises(UserError, match="2 scenes for DTUTraining"):
        open_scene(root, "DTUTraining")
    assert open_scene(root, "DTUTraining", lightings=[3]).name == "scan4_3"


@pytest.mark.parametrize("colour", ["jpg", "raw"])
def test_sens_encodings(colour, truth, write, tmp_path):
    truth.images = [np.full_like(image, 40 * k + 10) for k, image in enumerate(truth.images)]
    scene = open_scene(write.sens(truth, tmp_path, colour=colour, depth="raw"), every=5)
    assert [view.id for view in scene.views] == [0, 5]
    for view in scene.views:
        assert np.abs(view.image().astype(int) - truth.images[view.id]).max() <= 2
        np.testing.assert_allclose(view.depth(), truth.depths[view.id] * 0.001, rtol=1e-6)


def test_scannet_depth_of_its_own_resolution(truth, write, tmp_path):
    """Depth at half the resolution with intrinsics of its own: nearest pixels on the image's grid."""
    root = write.scannet(truth, tmp_path)
    half = truth.intrinsics.copy()
    half[:2] *= 0.5
    half[:2, 2] -= 0.25
    write.matrix(root / "intrinsic" / "intrinsic_depth.txt", half)
    for k, depth in enumerate(truth.depths):
        write_depth_png(root / "depth" / f"{k}.png", depth[::2, ::2])
    view = open_scene(root).view(2)
    np.testing.assert_allclose(view.depth(), truth.depths[2][::2, ::2].repeat(2, 0).repeat(2, 1) * 0.001, rtol=1e-6)
    np.testing.assert_array_equal(view.stored_depth()[1], half)


def test_ground_truth_mesh_of_scannet(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    assert open_scene(root).mesh_path is None
    (root / "scene0000_00_vh_clean_2.ply").write_text("ply")
    assert open_scene(root).mesh_path == root / "scene0000_00_vh_clean_2.ply"


@pytest.mark.parametrize("where", ["", "sparse/0", "sparse"])
def test_colmap_model_from_any_of_its_folders(where, truth, write, tmp_path):
    root = write.colmap(truth, tmp_path / "garden")
    scene = open_scene(root / where if where != "sparse" else root)
    assert scene.name == "garden" and len(scene.views) == 6
    (root / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="has no folder 'images' beside it"):
        open_scene(root)
    assert len(open_scene(root, images=tmp_path / "elsewhere").views) == 6


@pytest.mark.parametrize("format", FORMATS)
def test_depth_can_be_left_alone_in_every_format(format, truth, write, tmp_path):
    path = getattr(write, format)(truth, tmp_path / "scene")
    options = write.seven_scenes_calibration if format == "seven_scenes" else {}
    scene = open_scene(path, cache_dir=tmp_path / "cache", depth=False, **options)
    assert len(scene.views) == 6 and all(view.depth_path is None for view in scene.views)
