"""Tanks and Temples evaluation against hand-computed numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.evaluation.tanks import (
    TanksRecipe,
    align_trajectory,
    average_in_voxels,
    crop_points,
    evaluate_tanks_points,
    load_tanks_reference,
    published_threshold,
    read_trajectory,
    refine_alignment,
    similarity_between,
)
from toolbox.io import write_ply

# Reconstruction to ground truth: a quarter turn about z, twice the size, and a shift.
ALIGNMENT = np.array([[0, -2, 0, 5], [2, 0, 0, -3], [0, 0, 2, 1], [0, 0, 0, 1.0]])
TRUTH = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0.0]])
FINE = TanksRecipe(threshold=0.1)
RANDOM = np.random.default_rng(4)


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]


def into_own_frame(points: np.ndarray) -> np.ndarray:
    return moved(points, np.linalg.inv(ALIGNMENT))


def write_trajectory(path: Path, poses: np.ndarray) -> None:
    lines = []
    for i, pose in enumerate(poses):
        lines += [f"{i} {i} 0", *(" ".join(map(repr, map(float, row))) for row in pose)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A scene in the published layout: x and y in [-1, 10] x [-2, 10], z in [-1, 2]."""
    folder = tmp_path / "Barn"
    write_ply(folder / "Barn.ply", TRUTH)
    np.savetxt(folder / "Barn_trans.txt", ALIGNMENT)
    volume = {
        "class_name": "SelectionPolygonVolume",
        "version_major": 1,
        "version_minor": 0,
        "orthogonal_axis": "Z",
        "axis_min": -1.0,
        "axis_max": 2.0,
        "bounding_polygon": [[-1, -2, 0], [10, -2, 0], [10, 10, 0], [-1, 10, 0]],
    }
    (folder / "Barn.json").write_text(json.dumps(volume))
    return folder


def test_hand_computed(folder):
    # Nearer than 0.1: the first two. The third is 0.1 off, the fourth 4 m; the last two lie outside the volume.
    own = np.array([[0, 0.05, 0], [1, 0, 0.09], [2, 0.1001, 0], [6, 4, 0], [0, 0, 3], [20, 0, 0]])
    scores = evaluate_tanks_points(into_own_frame(own), load_tanks_reference(folder), FINE)
    assert scores["precision"] == 2 / 4
    assert scores["recall"] == 2 / 4
    assert scores["f_score"] == 0.5
    more = np.concatenate((own[:4], [[3, 0, 0.01], [3, 5, 0], [4, 5, 0], [5, 5, 0]]))
    scores = evaluate_tanks_points(into_own_frame(more), load_tanks_reference(folder), FINE)
    assert (scores["precision"], scores["recall"]) == (3 / 8, 3 / 4)
    assert scores["f_score"] == pytest.approx(2 * 3 / 8 * 3 / 4 / (3 / 8 + 3 / 4))
    assert (scores["points"], scores["points_cropped"], scores["points_compared"]) == (8, 8, 8)


def test_a_cloud_against_itself_and_far_from_it(folder):
    reference = load_tanks_reference(folder)
    assert evaluate_tanks_points(into_own_frame(TRUTH), reference, FINE)["f_score"] == 1
    aside = TRUTH + np.array([0, 5, 0])
    assert evaluate_tanks_points(into_own_frame(aside), reference, FINE)["f_score"] == 0


def test_points_that_are_no_numbers_are_counted(folder):
    broken = np.concatenate((into_own_frame(TRUTH), [[np.nan, 0, 0]]))
    scores = evaluate_tanks_points(broken, load_tanks_reference(folder), FINE)
    assert (scores["f_score"], scores["points_not_finite"]) == (1, 1)


def test_dense_places_count_once(folder):
    # A hundred copies of a good point fall into one voxel of half the threshold.
    own = np.concatenate((np.tile(TRUTH[:1], (100, 1)), [[6, 4, 0.0]]))
    scores = evaluate_tanks_points(into_own_frame(own), load_tanks_reference(folder), FINE)
    assert scores["precision"] == 0.5
    assert scores["points_compared"] == 2


def test_voxels_are_averaged():
    points = np.array([[0, 0, 0], [0.2, 0, 0], [0.4, 0.1, 0], [3, 0, 0]])
    averaged = average_in_voxels(points, 1.0)
    np.testing.assert_allclose(sorted(averaged.tolist()), [[0.2, 0.1 / 3, 0], [3, 0, 0]])


def test_cropping_in_chunks(folder):
    volume = load_tanks_reference(folder).volume
    points = RANDOM.uniform(-4, 14, (1000, 3))
    low, high = np.array([-1, -2, -1]), np.array([10, 10, 2])
    expected = points[((points > low) & (points < high)).all(axis=1)]
    assert 0 < len(expected) < 1000
    np.testing.assert_array_equal(crop_points(points, volume), expected)
    np.testing.assert_array_equal(crop_points(points, volume, chunk=37), expected)
    shift = np.eye(4)
    shift[:3, 3] = (1, 2, 3)
    np.testing.assert_allclose(crop_points(points - (1, 2, 3), volume, shift), expected)


def bumpy(count: int) -> np.ndarray:
    xy = RANDOM.uniform(0, 6, (count, 2))
    return np.column_stack((xy, 0.6 * np.sin(xy[:, 0] * 2) * np.cos(xy[:, 1])))


def test_icp_brings_a_bad_alignment_back(folder):
    truth = bumpy(20_000)
    reference = replace(load_tanks_reference(folder), points=truth)
    angle = 0.01
    off = 1.01 * np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    own = into_own_frame(truth @ off.T + (0.08, -0.06, 0.05))
    plain = evaluate_tanks_points(own, reference, TanksRecipe(0.04))
    refined = evaluate_tanks_points(own, reference, TanksRecipe(0.04, icp=True))
    assert plain["f_score"] < 0.6
    assert refined["f_score"] > 0.99
    alignment = refine_alignment(own, reference, ALIGNMENT, 0.04)
    np.testing.assert_allclose(moved(own, alignment), truth, atol=0.01)


def random_poses(count: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = RANDOM.uniform(-3, 3, (count, 3))
    return poses


def test_a_reconstruction_in_its_own_frame(folder, tmp_path):
    published = random_poses(6)
    write_trajectory(folder / "Barn_COLMAP_SfM.log", published)
    np.testing.assert_array_equal(read_trajectory(folder / "Barn_COLMAP_SfM.log"), published)
    to_published = np.array([[0, 0, 3, 1], [3, 0, 0, -2], [0, 3, 0, 4], [0, 0, 0, 1.0]])
    back = np.linalg.inv(to_published)
    own_poses = published.copy()
    own_poses[:, :3, 3] = moved(published[:, :3, 3], back)
    write_trajectory(tmp_path / "own.log", own_poses)
    similarity = align_trajectory(tmp_path / "own.log", folder / "Barn_COLMAP_SfM.log")
    np.testing.assert_allclose(similarity, to_published, atol=1e-12)
    own = moved(into_own_frame(TRUTH), back)
    reference = load_tanks_reference(folder)
    assert evaluate_tanks_points(own, reference, FINE, similarity)["f_score"] == 1


def test_similarity_never_mirrors():
    source = RANDOM.random((5, 3)) * (1, 1, 1e-3)
    similarity = similarity_between(source, source * (1, 1, -1))
    assert np.linalg.det(similarity[:3, :3]) > 0


def test_trajectories_that_cannot_be_aligned(tmp_path):
    poses = random_poses(5)
    write_trajectory(tmp_path / "a.log", poses)
    write_trajectory(tmp_path / "b.log", poses[:4])
    with pytest.raises(UserError, match="4 views where"):
        align_trajectory(tmp_path / "b.log", tmp_path / "a.log")
    line = np.arange(5.0)[:, None] * (1, 2, 3)
    with pytest.raises(UserError, match="on a line"):
        similarity_between(line, line)
    (tmp_path / "b.log").write_text("0 0 0\n1 0 0 0\n")
    with pytest.raises(UserError, match="no trajectory"):
        read_trajectory(tmp_path / "b.log")


@pytest.mark.parametrize("name", ["Barn.ply", "Barn_trans.txt", "Barn.json"])
@pytest.mark.parametrize("content", [None, b"{}", b"1 2 three", b"\xff\xfe"])
def test_missing_and_damaged_files_are_named(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        load_tanks_reference(folder)
    assert error.value.where == str(folder / name)


def test_nothing_inside_the_volume(folder):
    with pytest.raises(UserError, match="reconstruction"):
        evaluate_tanks_points(into_own_frame(TRUTH + 50), load_tanks_reference(folder), FINE)


def test_thresholds():
    assert published_threshold("Ignatius") == 0.003
    with pytest.raises(UserError, match="Family"):
        published_threshold("Family")
    with pytest.raises(UserError, match="positive"):
        TanksRecipe(threshold=0.0)
