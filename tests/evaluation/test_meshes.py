import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.errors import UserError
from toolbox.evaluation.meshes import MESH_METRICS, average_mesh_metrics, mesh_metrics, metrics_from_distances

PUBLISHED = {"accuracy": "acc", "completeness": "comp", "precision": "prec", "recall": "recal", "f_score": "fscore"}


@pytest.mark.parametrize(("voxel", "key"), [(0.02, "metrics"), (None, "metrics_no_downsample")])
def test_published_metrics(shared, voxel, key):
    golden = torch.load(shared / "golden/msr/eval.pt", weights_only=True)["mesh"]
    ours = mesh_metrics(golden["pred"].numpy(), golden["trgt"].numpy(), voxel=voxel)
    for name, theirs in PUBLISHED.items():
        assert ours[name] == pytest.approx(golden[key][theirs], abs=1e-6), name
    assert ours["chamfer"] == pytest.approx((golden[key]["acc"] + golden[key]["comp"]) / 2, abs=1e-6)


def test_by_hand():
    truth = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    predicted = np.array([[0.0, 0.04, 0], [1, 0, 0.05], [5, 0, 0]])
    found = mesh_metrics(predicted, truth, voxel=None)
    assert found["accuracy"] == pytest.approx((0.04 + 0.05 + 2) / 3)
    far = math.hypot(1, 0.05)
    assert found["completeness"] == pytest.approx((0.04 + 0.05 + far + 2) / 4)
    assert found["chamfer"] == pytest.approx((found["accuracy"] + found["completeness"]) / 2)
    assert (found["precision"], found["recall"]) == (1 / 3, 1 / 4)
    assert found["f_score"] == pytest.approx(2 / 7)


def test_the_threshold_itself_counts_where_the_protocol_says_so():
    distances = np.array([0.25, 0.5])
    assert metrics_from_distances(distances, distances, 0.5)["precision"] == 0.5
    assert metrics_from_distances(distances, distances, 0.5, strict=False)["precision"] == 1.0


@given(st.integers(0, 2**31), st.floats(0.01, 0.2))
@settings(max_examples=15, deadline=None)
def test_a_cloud_against_itself_and_the_sides_exchanged(seed, threshold):
    random = np.random.default_rng(seed)
    a, b = random.random((40, 3)), random.random((60, 3))
    same = mesh_metrics(a, a, threshold)
    assert (same["accuracy"], same["completeness"], same["f_score"]) == (0, 0, 1)
    one, other = mesh_metrics(a, b, threshold), mesh_metrics(b, a, threshold)
    for name, opposite in (("accuracy", "completeness"), ("precision", "recall"), ("f_score", "f_score")):
        assert one[name] == pytest.approx(other[opposite])


def test_density_does_not_count():
    """Points within a voxel are one."""
    truth = np.random.default_rng(0).random((50, 3))
    dense = np.concatenate((truth, np.repeat(truth[:1] + 0.3, 500, axis=0)))
    sparse = np.concatenate((truth, truth[:1] + 0.3))
    assert mesh_metrics(dense, truth) == pytest.approx(mesh_metrics(sparse, truth))


def test_nothing_predicted_and_no_truth():
    points = np.random.default_rng(0).random((20, 3))
    nothing = mesh_metrics(np.zeros((0, 3)), points)
    assert set(nothing) == set(MESH_METRICS)
    assert (nothing["precision"], nothing["recall"], nothing["f_score"]) == (0, 0, 0)
    assert math.isnan(nothing["accuracy"])
    with pytest.raises(UserError, match="no finite vertex"):
        mesh_metrics(points, np.full((3, 3), np.nan))
    with pytest.raises(UserError, match="must be positive"):
        mesh_metrics(points, points, threshold=0.0)
    spoilt = np.concatenate((points, [[np.nan, 0, 0]]))
    assert mesh_metrics(spoilt, points)["precision"] == 1


def test_average_over_scenes():
    points = np.random.default_rng(0).random((20, 3))
    scenes = [mesh_metrics(points + 0.01, points), mesh_metrics(np.zeros((0, 3)), points)]
    mean = average_mesh_metrics(scenes)
    assert mean["f_score"] == pytest.approx(scenes[0]["f_score"] / 2)
    assert mean["accuracy"] == scenes[0]["accuracy"]
    assert math.isnan(average_mesh_metrics(scenes[1:])["accuracy"])
    with pytest.raises(ValueError, match="no scene"):
        average_mesh_metrics([])
