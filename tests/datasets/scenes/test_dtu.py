"""DTU in MVSNet's and CVP-MVSNet's releases: which camera goes with which resolution."""

from pathlib import Path

import numpy as np
import pytest

from toolbox.datasets.scenes import DTUTest, DTUTraining, MVSNetScene, open_scene
from toolbox.datasets.scenes.mvsnet_cameras import depth_range_of, intrinsics_for
from toolbox.errors import UserError
from toolbox.io import CamFile, write_cam_txt, write_image, write_pfm

FULL = np.array([[2892.33, 0, 823.205], [0, 2883.175, 619.071], [0, 0, 1]])
QUARTER = np.array([[361.54125, 0, 82.900625], [0, 360.3975, 66.383875], [0, 0, 1]])


def grid(size, *intrinsics):
    cams = [CamFile(np.eye(4), k) for k in intrinsics]
    return intrinsics_for(size, cams, Path("image.png"), [Path("cam.txt")] * len(cams))


@pytest.mark.parametrize(
    ("size", "intrinsics", "expected"),
    [
        ((1200, 1600), (QUARTER, FULL), (2892.33, 823.205, 619.071)),
        ((1184, 1600), (FULL,), (2892.33, 823.205, 619.071)),
        ((128, 160), (QUARTER, FULL), (361.54125, 82.900625, 66.383875)),
        # MVSNet's quarter files are plain divisions of those of its 640 x 512 images.
        ((512, 640), (QUARTER, FULL), (1446.165, 331.6025, 265.5355)),
        # A resized image follows the half-pixel rule.
        ((600, 800), (FULL,), (1446.165, 823.705 / 2 - 0.5, 619.571 / 2 - 0.5)),
        ((512, 640), (FULL,), (1446.165, 823.705 / 2 - 80.5, 619.571 / 2 - 44.5)),
    ],
)
def test_intrinsics_of_the_releases(size, intrinsics, expected):
    k = grid(size, *intrinsics)
    np.testing.assert_allclose((k[0, 0], k[0, 2], k[1, 2]), expected, rtol=1e-12)


def test_a_camera_that_fits_no_resolution_is_refused():
    with pytest.raises(UserError, match=r"image.png: is 900 x 300 pixels, which fits no camera of cam.txt"):
        grid((300, 900), FULL)


def test_mvsnet_training_layout(truth, write, tmp_path):
    """Images four times the depth maps, their cameras in Cameras/train: depth pixels keep their values."""
    root = write.dtu(truth, tmp_path)
    big = np.random.default_rng(3).integers(0, 256, (4 * 48, 4 * 64, 3), dtype=np.uint8)
    for k in range(6):
        write_image(root / "Rectified" / "scan4_train" / f"rect_{k + 1:03d}_0_r5000.png", big)
        cam = root / "Cameras" / f"{k:08d}_cam.txt"
        write_cam_txt(
            root / "Cameras" / "train" / cam.name, CamFile(truth.world_to_cam(k), truth.intrinsics, 1.5, 0.02)
        )
        cam.unlink()
    (scene,) = DTUTraining(root, scans=["scan4"], lightings=[0])
    view = scene.view(2)
    assert scene.name == "scan4_0" and scene.unit == "mm" and view.size == (192, 256)
    np.testing.assert_allclose(view.intrinsics[:2], 4 * truth.intrinsics[:2])
    np.testing.assert_array_equal(view.depth_intrinsics, truth.intrinsics)
    assert view.depth().shape == (192, 256)
    np.testing.assert_array_equal(view.depth()[::4, ::4], truth.depths[2])
    stored, intrinsics = view.stored_depth()
    np.testing.assert_array_equal(stored, truth.depths[2])
    np.testing.assert_array_equal(intrinsics, truth.intrinsics)
    assert view.depth_range == pytest.approx((1.5, 1.5 + 192 * 0.02))
    assert DTUTraining(root, [4], [0], num_depths=48)[0].view(2).depth_range == pytest.approx((1.5, 1.5 + 48 * 0.02))


def test_scenes_are_named_by_scan_and_lighting(truth, write, tmp_path):
    for scan in ("scan12_train", "scan3_train"):
        write.dtu(truth, tmp_path, scan, lightings=(0, 3, 6))
    names = [scene.name for scene in DTUTraining(tmp_path)]
    assert names == ["scan3_0", "scan3_3", "scan3_6", "scan12_0", "scan12_3", "scan12_6"]
    assert [scene.name for scene in DTUTraining(tmp_path, scans=[12], lightings=(6, 0))] == ["scan12_6", "scan12_0"]
    with pytest.raises(UserError, match=r"scan3_train: holds no usable view \(6 frames: image is missing\)"):
        DTUTraining(tmp_path, lightings=[1])


def test_depth_is_optional_and_can_lie_elsewhere(truth, write, tmp_path):
    root = write.dtu(truth, tmp_path)
    assert DTUTraining(root)[0].view(1).depth() is not None
    assert DTUTraining(root, depth="none")[0].view(1).depth() is None
    pseudo = tmp_path / "pseudo"
    write_pfm(pseudo / "scan4_train" / "depth_map_0001.pfm", np.full((48, 64), 2.5, np.float32))
    scene = DTUTraining(root, depth=pseudo)[0]
    assert (scene.view(1).depth() == 2.5).all() and scene.view(0).depth() is None
    with pytest.raises(UserError, match="holds no folder scan4_train or scan4"):
        DTUTraining(root, depth=tmp_path / "nowhere")
    (root / "Depths").rename(tmp_path / "away")
    assert DTUTraining(root)[0].view(1).depth() is None


def test_test_form_and_training_scan_as_one_scene(truth, write, tmp_path):
    root = write.dtu(truth, tmp_path / "test", "scan9")
    for scene in (DTUTest(root), open_scene(root), open_scene(root / "Rectified" / "scan9")):
        assert scene.name == "scan9" and len(scene.views) == 6 and scene.unit == "mm"
    root = write.dtu(truth, tmp_path / "train", "scan4_train")
    scene = open_scene(root, scan="scan4", lighting=0)
    assert scene.name == "scan4_0" and scene.view(3).depth() is not None
    assert open_scene(root / "Rectified" / "scan4_train").name == "scan4_3"


def test_depth_range_of_a_camera_file():
    def of(*line):
        return depth_range_of(CamFile(np.eye(4), FULL, *line), Path("cam.txt"))

    assert of() is None
    assert of(425.0, 2.5) == (425.0, 905.0)
    assert of(425.0, 2.5, 257) == (425.0, 1065.0)
    assert of(425.0, 2.5, 0, 900.0) == (425.0, 900.0)
    assert of(425.0, 2.5, 193, 1e9) == (425.0, 905.0)
    with pytest.raises(UserError, match="depth line of one number"):
        of(425.0)


def test_depth_beside_mvsnet_images(truth, write, tmp_path):
    root = write.mvsnet(truth, tmp_path)
    write_pfm(root / "depth_gt" / "00000003.pfm", truth.depths[3].astype(np.float32))
    scene = MVSNetScene(root, unit="mm")
    np.testing.assert_array_equal(scene.view(3).depth(), truth.depths[3])
    assert scene.unit == "mm" and scene.view(2).depth() is None
