"""Camera and pair files of the MVSNet layout."""

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.io import CamFile, read_cam_txt, read_pair_txt, write_cam_txt, write_pair_txt

WORLD_TO_CAM = np.array([[0.8, -0.6, 0, 12.25], [0.6, 0.8, 0, -7.5], [0, 0, 1, 601.125], [0, 0, 0, 1]])
INTRINSICS = np.array([[2892.33, 0, 823.205], [0, 2883.175, 619.071], [0, 0, 1]])
TEXT = """extrinsic
0.8 -0.6 0 12.25
0.6 0.8 0 -7.5
0 0 1 601.125
0 0 0 1

intrinsic
2892.33 0 823.205
0 2883.175 619.071
0 0 1

425.0 2.5
"""


def test_the_published_form_is_read(tmp_path):
    (tmp_path / "00000000_cam.txt").write_text(TEXT)
    cam = read_cam_txt(tmp_path / "00000000_cam.txt")
    np.testing.assert_array_equal(cam.world_to_cam, WORLD_TO_CAM)
    np.testing.assert_array_equal(cam.intrinsics, INTRINSICS)
    assert (cam.depth_min, cam.depth_interval, cam.num_depths, cam.depth_max) == (425.0, 2.5, None, None)


@pytest.mark.parametrize(
    "depth", [(), (425.0,), (425.0, 2.5), (425.0, 2.5, 192), (425.0, 2.5, 192, 902.5)], ids=lambda depth: len(depth)
)
def test_round_trip_is_exact(tmp_path, depth):
    generator = np.random.default_rng(3)
    cam = CamFile(generator.normal(size=(4, 4)), generator.normal(size=(3, 3)) * 1e3, *depth)
    write_cam_txt(tmp_path / "cam.txt", cam)
    found = read_cam_txt(tmp_path / "cam.txt")
    np.testing.assert_array_equal(found.world_to_cam, cam.world_to_cam)
    np.testing.assert_array_equal(found.intrinsics, cam.intrinsics)
    assert (found.depth_min, found.depth_interval, found.num_depths, found.depth_max) == (
        *depth,
        *[None] * (4 - len(depth)),
    )


def test_non_finite_poses_are_read_for_the_caller_to_judge(tmp_path):
    (tmp_path / "cam.txt").write_text(TEXT.replace("12.25", "-inf"))
    assert read_cam_txt(tmp_path / "cam.txt").world_to_cam[0, 3] == -np.inf


@pytest.mark.parametrize(
    ("line", "block"),
    [("0 0 0 1\n", "extrinsic"), ("0.6 0.8 0 -7.5\n", "extrinsic"), ("0 2883.175 619.071\n", "intrinsic")],
)
def test_a_missing_row_is_named_with_its_block(tmp_path, line, block):
    (tmp_path / "00000007_cam.txt").write_text(TEXT.replace(line, "", 1))
    with pytest.raises(UserError, match=rf"00000007_cam\.txt: has .*'{block}' block.* rows of"):
        read_cam_txt(tmp_path / "00000007_cam.txt")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("intrinsic\n", "", "has no 'intrinsic' block"),
        ("823.205", "", "'intrinsic' block"),
        ("601.125", "6o1", "'extrinsic' block"),
        ("425.0 2.5", "425.0 x", "depth line"),
    ],
)
def test_what_is_malformed_is_named(tmp_path, old, new, fault):
    (tmp_path / "cam.txt").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"cam\.txt: .*{fault}"):
        read_cam_txt(tmp_path / "cam.txt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent_cam\.txt: cannot be read"):
        read_cam_txt(tmp_path / "absent_cam.txt")


def test_pairs_are_read_and_written(tmp_path):
    (tmp_path / "pair.txt").write_text("2\n0\n3 10 2346.41 1 2036.53 9 1243.89\n\n7\n1 3 0.5\n")
    pairs = read_pair_txt(tmp_path / "pair.txt")
    assert pairs == {0: [(10, 2346.41), (1, 2036.53), (9, 1243.89)], 7: [(3, 0.5)]}
    write_pair_txt(tmp_path / "again.txt", pairs)
    assert read_pair_txt(tmp_path / "again.txt") == pairs


@pytest.mark.parametrize(
    "text", ["", "2\n0\n1 10 2346.41\n", "1\n0\n3 10 2346.41 1 2036.53\n", "1\n0\n1 ten 2\n", "x\n"]
)
def test_a_broken_pair_file_is_named(tmp_path, text):
    (tmp_path / "pair.txt").write_text(text)
    with pytest.raises(UserError, match=r"pair\.txt: is malformed or truncated"):
        read_pair_txt(tmp_path / "pair.txt")


def test_a_view_without_sources_is_a_view(tmp_path):
    write_pair_txt(tmp_path / "pair.txt", {4: [], 5: [(4, 1.0)]})
    assert read_pair_txt(tmp_path / "pair.txt") == {4: [], 5: [(4, 1.0)]}
