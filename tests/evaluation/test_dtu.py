"""DTU evaluation against hand-computed numbers and against what must hold for any cloud."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from toolbox.errors import UserError
from toolbox.evaluation.dtu import (
    DTURecipe,
    DTUReference,
    above_plane,
    average_dtu_scans,
    evaluate_dtu_points,
    evaluate_dtu_scan,
    in_mask,
    in_search_blocks,
    load_dtu_reference,
    reduce_points,
)
from toolbox.io import write_ply

EVERYWHERE = np.array([0.0, 0.0, 0.0, 1.0])
RANDOM = np.random.default_rng(3)


def reference_of(points: np.ndarray, plane: np.ndarray = EVERYWHERE) -> DTUReference:
    """A reference whose mask is open everywhere in a box of 140 x 160 x 180 mm around the origin."""
    box = np.array([[-70.0, -80.0, -90.0], [70.0, 80.0, 90.0]])
    return DTUReference(points, np.ones((71, 81, 91), dtype=bool), box, 2.0, plane)


def grid_plane(step: float, size: float = 30.0, z: float = 0.0) -> np.ndarray:
    line = np.arange(0, size, step)
    x, y = np.meshgrid(line, line)
    return np.stack((x, y, np.full_like(x, z)), axis=-1).reshape(-1, 3)


def brute_force(points: np.ndarray, order: np.ndarray, spacing: float) -> list[int]:
    """Indices that stay when each kept point removes its neighbours, one point after the other."""
    kept = []
    for i in order:
        if all(np.linalg.norm(points[i] - points[k]) > spacing for k in kept):
            kept.append(i)
    return sorted(kept)


def test_hand_computed():
    # Reference: four points, one of them below the plane z = 1. Reconstruction: 3 and 4 mm off, one 25 mm off.
    reference = reference_of(np.array([[0, 0, 2], [10, 0, 2], [0, 50, 2], [40, 40, 0.0]]), np.array([0, 0, 1.0, -1]))
    points = np.array([[3, 0, 2], [10, 4, 2], [10, 4.1, 2], [40, 40, 0], [0, 25, 2.0]])
    scores = evaluate_dtu_points(points, reference, DTURecipe(min_spacing=0.05))
    # To the reference: 3, 4, 4.1, 0 and 25 (outlier). From it: 3, 4, 25 (outlier); below the plane: not counted.
    assert scores["accuracy"] == pytest.approx(11.1 / 4)
    assert scores["accuracy_median"] == pytest.approx(3.5)
    assert scores["completeness"] == pytest.approx(3.5)
    assert scores["completeness_median"] == pytest.approx(3.5)
    assert scores["overall"] == pytest.approx((11.1 / 4 + 3.5) / 2)
    counts = {name: value for name, value in scores.items() if "points" in name or "reference" in name}
    assert counts == {
        "points": 5,
        "points_not_finite": 0,
        "points_reduced": 5,
        "points_in_mask": 5,
        "points_outliers": 1,
        "reference_points": 4,
        "reference_above_plane": 3,
        "reference_outliers": 1,
    }


def test_outlier_limit_is_strict():
    reference = reference_of(np.array([[0, 0, 0], [50.0, 0, 0]]))
    scores = evaluate_dtu_points(np.array([[0, 20, 0], [50, 19.5, 0]]), reference)
    assert (scores["accuracy"], scores["completeness"]) == (19.5, 19.5)
    assert scores["points_outliers"] == scores["reference_outliers"] == 1


def test_a_cloud_against_itself():
    cloud = reduce_points(RANDOM.random((2000, 3)) * 12, 0.2)
    scores = evaluate_dtu_points(cloud, reference_of(cloud))
    assert [scores[name] for name in ("accuracy", "completeness", "overall")] == [0, 0, 0]
    assert scores["points_reduced"] == len(cloud)


@pytest.mark.parametrize("shift", [0.3, 1.7, 12.0])
def test_a_shifted_plane(shift):
    scores = evaluate_dtu_points(grid_plane(0.5, z=shift), reference_of(grid_plane(0.5)))
    assert scores["accuracy"] == pytest.approx(shift)
    assert scores["completeness"] == pytest.approx(shift)
    assert scores["overall"] == pytest.approx(shift)
    assert scores["accuracy_median"] == pytest.approx(shift)


def test_outliers_change_no_mean():
    plane = grid_plane(0.5)
    raised = grid_plane(0.5, z=0.4)
    alone = evaluate_dtu_points(raised, reference_of(plane))
    far = np.array([[0, 0, 60.0], [5, 5, -70]])
    both = evaluate_dtu_points(np.concatenate((raised, far)), reference_of(plane))
    assert both["overall"] == pytest.approx(alone["overall"])
    assert (alone["points_outliers"], both["points_outliers"]) == (0, 2)


def test_points_that_are_no_numbers_are_counted():
    plane = grid_plane(0.5)
    broken = np.concatenate((plane, [[np.nan, 0, 0], [0, np.inf, 0]]))
    scores = evaluate_dtu_points(broken, reference_of(plane))
    assert (scores["overall"], scores["points_not_finite"]) == (0, 2)


def test_mask_rounds_halves_up():
    observed = np.zeros((3, 4, 5), dtype=bool)
    observed[1, 2, 3] = observed[0, 0, 0] = observed[2, 3, 4] = True
    box = np.array([[10.0, 20.0, 30.0], [14.0, 26.0, 38.0]])
    cases = [
        ((12.0, 24.0, 36.0), True),  # the centre of voxel 1, 2, 3
        ((11.0, 23.0, 35.0), True),  # half a voxel below: halves go up
        ((13.0, 24.0, 36.0), False),  # half a voxel above
        ((10.99, 24.0, 36.0), False),
        ((9.0, 19.0, 29.0), True),  # the lower end of voxel 0, 0, 0
        ((8.99, 19.0, 29.0), False),  # outside of the volume
        ((14.99, 26.99, 38.99), True),  # the upper end of the last voxel
        ((15.0, 26.0, 38.0), False),
    ]
    points = np.array([point for point, _ in cases])
    np.testing.assert_array_equal(in_mask(points, observed, box, 2.0), [inside for _, inside in cases])


def test_mask_cuts_accuracy_but_not_what_completeness_searches():
    reference = reference_of(grid_plane(0.5, z=1.0))
    left = reference.observed.copy()
    left[43:] = False  # x >= 15
    points = grid_plane(0.5, z=1.0)
    points[points[:, 0] >= 15, 2] += 3
    scores = evaluate_dtu_points(points, replace(reference, observed=left))
    # The last voxel's centre is at x = 14; it ends at 15, where the far half begins.
    assert scores["accuracy"] == 0
    assert scores["points_in_mask"] == len(points) // 2
    assert 0 < scores["completeness"] < 3
    assert scores["reference_above_plane"] == len(points)


def test_plane_cuts_completeness_alone():
    low, high = grid_plane(0.5, z=0.0), grid_plane(0.5, z=10.0)
    reference = reference_of(np.concatenate((low, high)), np.array([0, 0, 2.0, -10]))
    scores = evaluate_dtu_points(high, reference)
    assert scores["completeness"] == 0
    assert scores["reference_above_plane"] == len(high)
    on_it = np.array([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0001], [1.0, 2.0, 4.0]])
    np.testing.assert_array_equal(above_plane(on_it, reference.plane), [False, True, False])


def test_search_blocks_cover_the_box():
    box = np.array([[0.0, 10.0, 20.0], [59.0, 70.0, 150.0]])
    # Cubes of 60 from the lower corner: to 60, to 130 (the box's 60 fill one exactly, one more begins), to 200.
    cases = [((0, 10, 20), True), ((59.9, 129.9, 199.9), True), ((60, 10, 20), False), ((0, 9.9, 20), False)]
    cases += [((0, 130, 20), False), ((0, 10, 200), False)]
    points = np.array([point for point, _ in cases], dtype=np.float64)
    np.testing.assert_array_equal(in_search_blocks(points, box, 60.0), [inside for _, inside in cases])
    assert in_search_blocks(points, box, None).all()


def test_reference_outside_the_search_blocks_is_an_outlier_unless_there_are_none():
    reference = reference_of(np.array([[0.0, 0, 0], [-71.0, 0, 0]]))
    points = np.array([[0.0, 0, 0], [-69.0, 0, 0]])
    assert evaluate_dtu_points(points, reference)["completeness"] == 0
    assert evaluate_dtu_points(points, reference, DTURecipe(search_block=None))["completeness"] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 150), st.integers(0, 10**6), st.sampled_from([0.3, 1.0, 4.0]))
def test_reduction_is_the_sequential_one(count, seed, extent):
    points = np.random.default_rng(seed).random((count, 3)) * (extent, extent, 0.1)
    order = np.random.default_rng(7).permutation(count)
    np.testing.assert_array_equal(reduce_points(points, 0.2, seed=7), points[brute_force(points, order, 0.2)])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_reduction_spaces_and_covers(kind):
    points = (RANDOM.random((30_000, 3)) * (9, 7, 0.3)).astype(kind)
    reduced = reduce_points(points, 0.2)
    assert not len(cKDTree(reduced).query_pairs(0.2))
    assert cKDTree(reduced).query(points)[0].max() <= 0.2
    assert 200 < len(reduced) < len(points) / 5


def test_reduction_over_several_batches_does_not_depend_on_chunks_and_threads():
    points = RANDOM.random((20_000, 3)) * (9, 7, 0.3)
    whole = reduce_points(points, 0.2)
    np.testing.assert_array_equal(reduce_points(points, 0.2, chunk=777, workers=2), whole)
    assert not np.array_equal(reduce_points(points, 0.2, seed=1)[:100], whole[:100])


def test_reduction_leaves_a_tie_apart_and_one_of_many_copies():
    at_the_limit = np.array([[0.0, 0, 0], [0.25, 0, 0], [0.75, 0, 0]])
    assert len(reduce_points(at_the_limit, 0.25)) == 2
    assert len(reduce_points(np.tile([[1.0, 2.0, 3.0]], (50_000, 1)), 0.2)) == 1


def test_chunks_do_not_change_the_scores():
    points, truth = (RANDOM.random((3000, 3)) * (30, 30, 2) for _ in range(2))
    whole = evaluate_dtu_points(points, reference_of(truth))
    assert evaluate_dtu_points(points, reference_of(truth), chunk=101, workers=2) == whole


@pytest.mark.parametrize(("z", "plane", "fault"), [(60.0, EVERYWHERE, "accuracy"), (1.0, -EVERYWHERE, "completeness")])
def test_nothing_to_measure(z, plane, fault):
    with pytest.raises(UserError, match="cannot be measured") as error:
        evaluate_dtu_points(grid_plane(1.0, z=z), reference_of(grid_plane(1.0), plane))
    assert error.value.where == fault


@pytest.mark.parametrize("setting", [{"min_spacing": 0.0}, {"max_distance": float("nan")}, {"search_block": 10.0}])
def test_recipe_refuses_what_makes_no_sense(setting):
    with pytest.raises(UserError):
        DTURecipe(**setting)


@pytest.fixture
def sample_set(tmp_path) -> Path:
    """Scan 7 of a data set in the published layout: a plane at z = 5, the mask without its far corner."""
    write_ply(tmp_path / "Points/stl/stl007_total.ply", grid_plane(0.5, z=5.0))
    (tmp_path / "ObsMask").mkdir()
    mask = np.ones((21, 22, 23), dtype=np.uint8)
    mask[20:] = 0
    box = np.array([[0.0, 0.0, 0.0], [40.0, 42.0, 44.0]])
    scipy.io.savemat(tmp_path / "ObsMask/ObsMask7_10.mat", {"ObsMask": mask, "BB": box, "Res": 2.0})
    scipy.io.savemat(tmp_path / "ObsMask/Plane7.mat", {"P": np.array([[0.0], [0.0], [1.0], [-1.0]])})
    return tmp_path


def test_published_layout(sample_set):
    reference = load_dtu_reference(sample_set, 7)
    assert reference.observed.shape == (21, 22, 23)
    assert reference.voxel == 2
    assert reference.observed.sum() == 20 * 22 * 23
    np.testing.assert_array_equal(reference.plane, [0, 0, 1, -1])
    write_ply(sample_set / "own.ply", grid_plane(0.5, z=5.25))
    scores = evaluate_dtu_scan(sample_set / "own.ply", sample_set, 7)
    assert (scores["accuracy"], scores["completeness"], scores["overall"]) == (0.25, 0.25, 0.25)


def test_a_cloud_in_another_frame_is_named(sample_set):
    write_ply(sample_set / "own.ply", grid_plane(0.5, z=5.0) + 1000)
    with pytest.raises(UserError, match="scan 7") as error:
        evaluate_dtu_scan(sample_set / "own.ply", sample_set, 7)
    assert error.value.where == str(sample_set / "own.ply")


@pytest.mark.parametrize("name", ["Points/stl/stl007_total.ply", "ObsMask/ObsMask7_10.mat", "ObsMask/Plane7.mat"])
def test_missing_and_damaged_files_are_named(sample_set, name):
    (sample_set / name).write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(UserError) as error:
        load_dtu_reference(sample_set, 7)
    assert error.value.where == str(sample_set / name)
    (sample_set / name).unlink()
    with pytest.raises(UserError, match="does not exist") as error:
        load_dtu_reference(sample_set, 7)
    assert error.value.where == str(sample_set / name)


@pytest.mark.parametrize(
    "content",
    [
        {"ObsMask": np.ones((2, 2)), "BB": np.eye(2, 3), "Res": 1.0},
        {"ObsMask": np.ones((2, 2, 2)), "BB": np.ones((3, 3)), "Res": 1.0},
        {"ObsMask": np.ones((2, 2, 2)), "BB": np.ones((2, 3)), "Res": 1.0},
        {"ObsMask": np.ones((2, 2, 2)), "BB": np.array([[0.0, 0, 0], [1, 1, 1]])},
        {"ObsMask": np.ones((2, 2, 2)), "BB": np.array([[0.0, 0, 0], [1, 1, 1]]), "Res": "one"},
    ],
)
def test_masks_without_what_they_must_have(sample_set, content):
    scipy.io.savemat(sample_set / "ObsMask/ObsMask7_10.mat", content)
    with pytest.raises(UserError, match="ObsMask7_10"):
        load_dtu_reference(sample_set, 7)


def test_scans_count_the_same_whatever_their_size():
    names = ("accuracy", "completeness", "overall", "accuracy_median", "completeness_median")
    scores = [{**dict.fromkeys(names, value), "points": points} for value, points in ((1.0, 10), (4.0, 1000))]
    assert average_dtu_scans(scores) == dict.fromkeys(names, 2.5)
