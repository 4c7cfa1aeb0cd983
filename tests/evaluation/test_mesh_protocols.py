from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from toolbox.errors import UserError
from toolbox.evaluation import average_metrics
from toolbox.evaluation.mesh_protocols import (
    NeuralReconRecipe,
    SingleLayerReference,
    TransformerFusionRecipe,
    neural_recon_protocol,
    read_single_layer_reference,
    refuse_mesh,
    rendered_depth_metrics,
    sample_surface,
    transformer_fusion_protocol,
    visible_points,
)
from toolbox.evaluation.rendered_frames import rendered_image_sums
from toolbox.io import write_pfm, write_ply
from toolbox.rendering import RaycastRenderer
from toolbox.structures import View

INTRINSICS = np.array([[60.0, 0, 41.0], [0, 63.0, 28.0], [0, 0, 1]])
SIZE = (60, 80)
NOTHING = (np.zeros((0, 3)), np.zeros((0, 3), np.int64))


def wall(z: float, half: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A square at depth ``z``, slanted a little."""
    corners = np.array([[-half, -half, z], [half, -half, z + 0.1], [half, half, z + 0.1], [-half, half, z]])
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture
def views() -> list[View]:
    poses = [np.eye(4) for _ in range(4)]
    for k, pose in enumerate(poses):
        pose[:3, 3] = (0.1 * k, -0.05 * k, 0.02 * k)
    return [View(k, Path("none.png"), SIZE, INTRINSICS, pose) for k, pose in enumerate(poses)]


def test_published_depth_metrics(shared):
    golden = torch.load(shared / "golden/msr/eval.pt", weights_only=True)["depth"]
    sums, complete = rendered_image_sums(golden["pred"], golden["gt"])
    ours, theirs = average_metrics([sums]), golden["metrics"]
    names = {"abs_rel": "AbsRel", "abs_diff": "AbsDiff", "sq_rel": "SqRel", "rmse": "RMSE", "log_rmse": "LogRMSE"}
    names |= {"delta_1.25": "r1", "delta_1.25^2": "r2", "delta_1.25^3": "r3"}
    for name, key in names.items():
        assert ours[name] == pytest.approx(theirs[key], rel=1e-5), name
    assert complete == pytest.approx(theirs["complete"])


@pytest.mark.usefixtures("depth_fusion")
def test_refused_mesh_lies_on_the_surface_and_only_where_it_is_seen(views):
    vertices, triangles = refuse_mesh(wall(1.5, half=10.0), views, RaycastRenderer())
    assert len(triangles) > 500
    expected = 1.5 + 0.1 * (vertices[:, 0] + 10) / 20
    assert np.abs(vertices[:, 2] - expected).max() < 0.005
    assert np.abs(vertices[:, 0]).max() < 1.5 * 45 / 60 + 0.3
    far = refuse_mesh(wall(5.5, half=10.0), views, RaycastRenderer())
    assert len(far[0]) == 0
    assert len(refuse_mesh(NOTHING, views, RaycastRenderer())[0]) == 0


@pytest.mark.usefixtures("depth_fusion")
def test_neural_recon_protocol_counts_what_frames_see(views):
    """A second wall behind the first is in no frame; a plain comparison of points would count it."""
    front, behind = wall(1.5), wall(2.5)
    both = np.concatenate((front[0], behind[0])), np.concatenate((front[1], behind[1] + 4))
    truth = refuse_mesh(front, views, RaycastRenderer())[0]
    found = neural_recon_protocol(both, truth, views, RaycastRenderer())
    assert found["precision"] > 0.99 < found["recall"]
    shifted = neural_recon_protocol(wall(1.54), truth, views, RaycastRenderer())
    assert shifted["accuracy"] == pytest.approx(0.04, abs=0.005)
    strict = neural_recon_protocol(wall(1.54), truth, views, RaycastRenderer(), NeuralReconRecipe(threshold=0.03))
    assert strict["f_score"] < 0.1 < 0.9 < shifted["f_score"]
    nothing = neural_recon_protocol(NOTHING, truth, views, RaycastRenderer())
    assert (nothing["precision"], nothing["f_score"]) == (0, 0)


def test_rendered_depth_metrics(views, tmp_path):
    depth = np.full(SIZE, 2.0, np.float32)
    depth[:, 40:] = 0
    depth[:10] = 12.0
    write_pfm(tmp_path / "a.pfm", depth)
    known = View(9, Path("none.png"), SIZE, INTRINSICS, np.eye(4), tmp_path / "a.pfm")
    flat = np.array([[-9.0, -9, 2.2], [9, -9, 2.2], [9, 9, 2.2], [-9, 9, 2.2]])
    found = rendered_depth_metrics((flat, wall(1.0)[1]), [*views, known], RaycastRenderer())
    assert found["abs_rel"] == pytest.approx(0.1, rel=1e-5)
    assert (found["coverage"], found["complete"]) == (1, 1)
    nothing = rendered_depth_metrics(NOTHING, [known], RaycastRenderer())
    assert (nothing["coverage"], nothing["complete"]) == (0, 0)
    with pytest.raises(UserError, match="none of the 4 views has depth"):
        rendered_depth_metrics(wall(1.0), views, RaycastRenderer())


def test_samples_are_spread_by_area():
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    points = sample_surface(np.asarray(box.vertices), np.asarray(box.faces), 20_000, seed=1)
    on_x = np.isclose(np.abs(points[:, 0]), 0.5)
    assert on_x.mean() == pytest.approx(2 * 6 / 22, abs=0.02)
    np.testing.assert_allclose(points[on_x][:, 1:].std(axis=0), np.array([2, 3]) / np.sqrt(12), rtol=0.03)
    assert np.array_equal(points, sample_surface(np.asarray(box.vertices), np.asarray(box.faces), 20_000, seed=1))


@pytest.fixture
def half_occluded() -> SingleLayerReference:
    """A wall at z = 1 (x and y from -1 to 1) of which the sensor saw x < 0.2; voxels of 10 cm."""
    grid = np.arange(-1, 0.15, 0.02)
    points = np.stack([c.ravel() for c in np.meshgrid(grid, np.arange(-1, 1, 0.02), [1.0])], axis=1)
    occluded = np.zeros((26, 27, 28))
    occluded[15:] = 1  # from x = 0.2 on
    world_to_grid = np.diag([10.0, 10.0, 10.0, 1.0])
    world_to_grid[:3, 3] = (13, 12.5, 4)
    return SingleLayerReference(points, occluded, world_to_grid)


def test_visible_points(half_occluded):
    points = np.array([[0.0, 0, 1], [0.09, 0, 1], [0.15, 0, 1], [0.5, 0, 1], [0, 0, 2.31], [0, 0, 2.29], [-1.31, 0, 1]])
    assert visible_points(points, half_occluded).tolist() == [True, True, False, False, False, True, False]


def test_transformer_fusion_protocol_forgives_what_was_occluded(half_occluded):
    corners = np.array([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    square = np.array([[0, 1, 2], [0, 2, 3]])
    recipe = TransformerFusionRecipe(samples=20_000)
    found = transformer_fusion_protocol((corners, square), half_occluded, recipe)
    assert found["precision"] == found["recall"] == 1
    assert found["accuracy"] < 0.02
    open_mask = SingleLayerReference(half_occluded.points, np.zeros((26, 27, 28)), half_occluded.world_to_grid)
    punished = transformer_fusion_protocol((corners, square), open_mask, recipe)
    assert 0.5 < punished["precision"] < 0.65
    far = transformer_fusion_protocol((corners + np.array([0, 0, 1.2]), square), half_occluded, recipe)
    assert (far["completeness"], far["recall"], far["f_score"]) == (1, 0, 0)


def test_transformer_fusion_protocol_of_extremes(half_occluded):
    nothing = transformer_fusion_protocol(NOTHING, half_occluded)
    assert (nothing["chamfer"], nothing["precision"], nothing["recall"], nothing["f_score"]) == (1, 1, 0, 0)
    hidden = np.array([[0.5, 0, 1], [0.9, 0, 1], [0.9, 0.4, 1]]), np.array([[0, 1, 2]])
    found = transformer_fusion_protocol(hidden, half_occluded, TransformerFusionRecipe(samples=500))
    assert found["precision"] == 0
    assert found["accuracy"] > 0.3
    empty = SingleLayerReference(np.zeros((0, 3)), half_occluded.occluded, half_occluded.world_to_grid)
    with pytest.raises(UserError, match="no finite vertex"):
        transformer_fusion_protocol(hidden, empty)


def test_reference_files(half_occluded, tmp_path):
    with pytest.raises(UserError, match=r"no readable occlusion_mask\.npy"):
        read_single_layer_reference(tmp_path)
    write_ply(tmp_path / "mesh_gt.ply", half_occluded.points)
    np.save(tmp_path / "occlusion_mask.npy", half_occluded.occluded)
    np.savetxt(tmp_path / "world2grid.txt", half_occluded.world_to_grid)
    reference = read_single_layer_reference(tmp_path)
    np.testing.assert_allclose(reference.points, half_occluded.points, atol=1e-6)
    assert np.array_equal(reference.occluded, half_occluded.occluded)
    np.savetxt(tmp_path / "world2grid.txt", np.eye(3))
    with pytest.raises(UserError, match=r"a transform of \(3, 3\)"):
        read_single_layer_reference(tmp_path)
