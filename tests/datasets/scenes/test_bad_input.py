"""Bad input: what is left out is named; what cannot be used raises one paragraph that names file and remedy."""

import numpy as np
import pytest

from toolbox.datasets.scenes import (
    ColmapScene,
    DTUTest,
    DTUTraining,
    FolderScene,
    MVSNetScene,
    ScanNetScene,
    ScanNetSens,
    SevenScenes,
    TransformsScene,
    open_scene,
)
from toolbox.errors import UserError
from toolbox.io import write_image


def left_out(scene) -> dict[str, str]:
    return {entry.name: entry.reason for entry in scene.left_out}


def test_scannet_frames_are_left_out_with_reasons(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    (root / "color" / "0.png").unlink()
    (root / "pose" / "1.txt").unlink()
    write.matrix(root / "pose" / "2.txt", np.full((4, 4), -np.inf))
    (root / "color" / "3.png").write_bytes(b"no image")
    (root / "depth" / "4.png").unlink()
    scene = ScanNetScene(root)
    assert [view.id for view in scene.views] == [4, 5]
    assert left_out(scene) == {
        "0": "image is missing",
        "1.png": "pose is missing",
        "2.png": "pose is not finite",
        "3.png": "image cannot be read: cannot be decoded as an image",
    }
    assert scene.view(4).depth() is None and scene.view(5).depth() is not None


def test_transforms_frames_are_left_out_with_reasons(truth, write, edit_json, tmp_path):
    path = write.transforms(truth, tmp_path)
    (tmp_path / "images" / "001.png").unlink()
    edit_json(path, lambda content: content["frames"][4]["transform_matrix"][0].__setitem__(3, float("nan")))
    scene = TransformsScene(path)
    assert [view.id for view in scene.views] == [0, 2, 3, 5]
    assert left_out(scene) == {"images/001.png": "image is missing", "images/004.png": "pose is not finite"}


def test_mvsnet_frames_are_left_out_and_leave_the_pairs(truth, write, tmp_path):
    root = write.mvsnet(truth, tmp_path)
    (root / "images" / "00000002.png").unlink()
    (root / "cams" / "00000003_cam.txt").unlink()
    scene = MVSNetScene(root)
    assert left_out(scene) == {"00000002": "image is missing", "00000003.png": "camera file is missing"}
    assert [s for s, _ in scene.pairs[1]] == [4] and set(scene.pairs) == {0, 1, 4, 5}


def test_dtu_7scenes_colmap_folder_and_sens_leave_out(truth, write, edit_json, tmp_path):
    root = write.dtu(truth, tmp_path / "dtu")
    (root / "Rectified" / "scan4_train" / "rect_003_3_r5000.png").unlink()
    (root / "Cameras" / "00000000_cam.txt").unlink()
    by_light = {scene.name: scene for scene in DTUTraining(root)}
    assert left_out(by_light["scan4_0"]) == {"rect_001_0_r5000": "camera file is missing"}
    assert left_out(by_light["scan4_3"])["rect_003_3_r5000"] == "image is missing"

    root = write.seven_scenes(truth, tmp_path / "seven")
    (root / "frame-000001.color.png").unlink()
    (root / "frame-000002.pose.txt").unlink()
    (root / "frame-000003.depth.png").unlink()
    scene = SevenScenes(root, **write.seven_scenes_calibration)
    assert left_out(scene) == {"frame-000001": "image is missing", "frame-000002": "pose is missing"}
    assert scene.view(3).depth() is None

    root = write.colmap(truth, tmp_path / "colmap")
    (root / "images" / "002.png").unlink()
    scene = ColmapScene(root)
    assert left_out(scene) == {"002.png": "image is missing"}
    assert not any((ids == 3).any() for ids in scene.points.view_ids)

    root = write.folder(truth, tmp_path / "folder")
    edit_json(root / "cameras.json", lambda c: c["views"][1]["world_to_cam"][1].__setitem__(1, float("inf")))
    assert left_out(FolderScene(root)) == {"images/001.png": "pose is not finite"}

    truth.cam_to_world[4] = np.full((4, 4), -np.inf)
    assert left_out(ScanNetSens(write.sens(truth, tmp_path / "sens"))) == {"4": "pose is not finite"}


def test_a_scene_without_usable_view(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    for path in (root / "color").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"no usable view .*6 frames: image is missing"):
        ScanNetScene(root)


ODD_IMAGES = {
    "scannet": "color/2.png",
    "mvsnet": "images/00000002.png",
    "dtu": "Rectified/scan4_train/rect_003_3_r5000.png",
    "colmap": "images/002.png",
    "transforms": "images/002.png",
    "folder": "images/002.png",
    "seven_scenes": "frame-000002.color.png",
}


@pytest.mark.parametrize("format", ODD_IMAGES)
def test_images_of_two_sizes(format, truth, write, tmp_path):
    calibration = write.seven_scenes_calibration if format == "seven_scenes" else {}
    path = getattr(write, format)(truth, tmp_path)
    assert len(open_scene(path, **calibration).views) == 6
    write_image(tmp_path / ODD_IMAGES[format], np.zeros((52, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"64 x 52.*64 x 48.*Resize") as caught:
        open_scene(path, **calibration)
    assert caught.value.where.endswith(ODD_IMAGES[format])


def test_images_of_two_sizes_for_one_viewing_angle(truth, write, tmp_path):
    path = write.transforms(
        truth, tmp_path, **dict.fromkeys(["fl_x", "fl_y", "cx", "cy", "w", "h"]), camera_angle_x=0.9
    )
    write_image(tmp_path / "images" / "002.png", np.zeros((52, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"002.png: is 64 x 52 .*64 x 48"):
        TransformsScene(path)


@pytest.mark.parametrize("format", ["scannet", "mvsnet", "seven_scenes"])
def test_all_images_of_another_size_than_the_camera(format, truth, write, tmp_path):
    truth.images = [image[::2, ::2].copy() for image in truth.images]
    calibration = write.seven_scenes_calibration if format == "seven_scenes" else {}
    with pytest.raises(UserError, match="the camera is for another size"):
        open_scene(getattr(write, format)(truth, tmp_path), **calibration)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda pose: pose @ np.diag([2.0, 2.0, 2.0, 1.0]), "not rigid.*scale 2"),
        (lambda pose: pose @ np.diag([1.0, 1.0, -1.0, 1.0]), "not rigid.*scale -1"),
        (lambda pose: pose + np.eye(4)[[3, 0, 1, 2]] * 0.05, "not rigid|last row"),
        (lambda pose: pose.T, "last row"),
        (lambda pose: pose[:2], "shape"),
    ],
)
def test_poses_that_are_not_rigid(change, fault, truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    write.matrix(root / "pose" / "3.txt", change(truth.cam_to_world[3]))
    with pytest.raises(UserError, match=fault) as caught:
        ScanNetScene(root)
    assert caught.value.where.endswith("3.txt")


def test_camera_file_with_a_missing_row(truth, write, tmp_path):
    root = write.mvsnet(truth, tmp_path)
    path = root / "cams" / "00000002_cam.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:3] + lines[4:]))
    with pytest.raises(UserError, match=r"00000002_cam.txt: .*'extrinsic' block"):
        MVSNetScene(root)


@pytest.mark.parametrize("line", ["3.0 -0.01", "3.0 0.01 193 nan", "0 0.01", "inf 0.01", "4.0 0.1 1 3.9"])
def test_impossible_depth_range_of_a_camera_file(line, truth, write, tmp_path):
    root = write.mvsnet(truth, tmp_path)
    path = root / "cams" / "00000001_cam.txt"
    path.write_text("\n".join([*path.read_text().splitlines()[:-1], line]))
    if line == "3.0 0.01 193 nan":
        assert MVSNetScene(root).view(1).depth_range == pytest.approx((3.0, 4.92))
        return
    with pytest.raises(UserError, match=r"00000001_cam.txt: gives the depth range .*0 < near < far"):
        MVSNetScene(root)


def test_impossible_depth_range_of_a_folder(truth, write, edit_json, tmp_path):
    root = write.folder(truth, tmp_path)
    edit_json(root / "cameras.json", lambda content: content["views"][2].update(depth_range=[4.0, 4.0]))
    with pytest.raises(UserError, match=r"cameras.json \(view 2, .*gives the depth range 4 .. 4"):
        FolderScene(root)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c["views"][0].pop("image"), "malformed at view 0"),
        (lambda c: c["views"][0].update(worldtocam=1), r"unknown keys \['worldtocam'\]"),
        (lambda c: c.update(unit="cm"), "unit 'cm'"),
        (lambda c: c.update(mesh="none.ply"), "none.ply: does not exist"),
        (lambda c: c.pop("intrinsics"), "no intrinsics"),
        (lambda c: c.update(intrinsics={"fx": 1, "fy": 1}), "intrinsics with the keys"),
        (lambda c: c.update(intrinsics={"fx": -1, "fy": 1, "cx": 1, "cy": 1}), "no usable intrinsics"),
        (lambda c: c["views"][0].update(depth="none.png"), "none.png: does not exist"),
        (lambda c: c.update(pairs=[1, 2]), "malformed pairs"),
        (lambda c: c["views"][1].update(id=0), "the same id"),
        (lambda c: c.pop("views"), "no list 'views'"),
    ],
)
def test_mistakes_in_cameras_json(change, fault, truth, write, edit_json, tmp_path):
    root = write.folder(truth, tmp_path)
    edit_json(root / "cameras.json", change)
    with pytest.raises(UserError, match=fault):
        FolderScene(root / "cameras.json")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.pop("fl_x"), "no focal length"),
        (lambda c: c.update(camera_model="EQUIRECTANGULAR"), "camera model 'EQUIRECTANGULAR'"),
        (lambda c: c["frames"][1].pop("transform_matrix"), "malformed at frame 1"),
        (lambda c: c["frames"][1].update(transform_matrix=[[1, 2], [3, 4]]), "malformed at frame 1"),
        (lambda c: c.pop("frames"), "no list 'frames'"),
        (lambda c: c.update(cx="wide"), "malformed intrinsics"),
        (lambda c: c.update(w=128, h=96), "64 x 48 pixels where its camera is given for 128 x 96"),
        (lambda c: c.update(ply_file_path="none.ply"), "none.ply: cannot be read as PLY"),
    ],
)
def test_mistakes_in_transforms_json(change, fault, truth, write, edit_json, tmp_path):
    path = write.transforms(truth, tmp_path)
    edit_json(path, change)
    with pytest.raises(UserError, match=fault):
        TransformsScene(path)


def test_broken_files_are_named(truth, write, tmp_path):
    (tmp_path / "transforms.json").write_text('{"frames": [')
    with pytest.raises(UserError, match=r"transforms.json: is no JSON"):
        TransformsScene(tmp_path)

    root = write.scannet(truth, tmp_path / "scannet")
    (root / "pose" / "1.txt").write_text("1 0 0 0\n0 1 x 0\n")
    with pytest.raises(UserError, match=r"1.txt: holds a malformed matrix"):
        ScanNetScene(root)

    root = write.colmap(truth, tmp_path / "colmap")
    model = root / "sparse" / "0"
    (model / "images.bin").write_bytes((model / "images.bin").read_bytes()[:300])
    with pytest.raises(UserError, match="cannot be read as a COLMAP model"):
        ColmapScene(root)


@pytest.mark.parametrize("keep", [2, 100, 400, 5000])
def test_truncated_sens(keep, truth, write, tmp_path):
    path = write.sens(truth, tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"scene.sens: is truncated in (its header|frame \d of 6)"):
        ScanNetSens(path)


def test_sens_of_another_version(truth, write, tmp_path):
    path = write.sens(truth, tmp_path)
    path.write_bytes(b"\x03" + path.read_bytes()[1:])
    with pytest.raises(UserError, match=r"no .sens file of version 4"):
        ScanNetSens(path)


def test_depth_camera_elsewhere_than_the_colour_camera(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    write.matrix(root / "intrinsic" / "extrinsic_color.txt", np.eye(4) + 0.02 * np.eye(4)[[3, 0, 1, 2]].T)
    with pytest.raises(UserError, match=r"extrinsic_color.txt: says that depth and colour camera differ"):
        ScanNetScene(root)
    assert ScanNetScene(root, depth=False).views[0].depth() is None


def test_depth_of_another_size_than_stated(truth, write, tmp_path):
    root = write.scannet(truth, tmp_path)
    truth.depths = [depth[:24] for depth in truth.depths]
    write.scannet(truth, root)
    (root / "intrinsic" / "intrinsic_depth.txt").unlink()
    with pytest.raises(UserError, match=r"0.png: is 64 x 24 where its image is 64 x 48"):
        ScanNetScene(root).views[0].depth()


def test_dtu_scans_must_be_named(truth, write, tmp_path):
    write.dtu(truth, tmp_path, "scan2")
    root = write.dtu(truth, tmp_path, "scan11")
    with pytest.raises(UserError, match=r"holds 2 scans \(scan2, scan11\)"):
        DTUTest(root)
    with pytest.raises(UserError, match="has no scan3"):
        DTUTest(root, scan=3)
    with pytest.raises(UserError, match="holds no folder Rectified/scanN_train"):
        DTUTraining(root)
    assert DTUTest(root, scan="scan11").name == "scan11"


def test_several_sequences_of_7_scenes(truth, write, tmp_path):
    write.seven_scenes(truth, tmp_path / "seq-01")
    write.seven_scenes(truth, tmp_path / "seq-02")
    with pytest.raises(UserError, match=r"2 sequences .*seq-01, seq-02"):
        SevenScenes(tmp_path)


def test_missing_pycolmap_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pycolmap", None)
    with pytest.raises(UserError, match=r"pip install 'selfrecon-toolbox\[optional\]'"):
        ColmapScene(tmp_path)
