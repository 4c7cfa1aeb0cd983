"""The two protocols by which papers report meshes of ScanNet. Their numbers are not comparable.

*NeuralRecon's* (Atlas's before it; Sun et al., CVPR 2021): the prediction is rendered into every frame, the depth maps
are fused again, and the vertices of that mesh are measured. What no frame sees does not count, on either side the
mesh's density is that of the new fusion.

*TransformerFusion's* (Bozic et al., NeurIPS 2021): points sampled on the predicted mesh are measured against the
vertices of the truth; predicted points where the truth's sensor could not see (a mask of occluded voxels) do not count
for accuracy and precision. Volumetric methods that close what was not seen are not punished for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Num, Shaped

from toolbox.errors import UserError
from toolbox.rendering import DepthRenderer
from toolbox.structures import View

from .clouds import finite_points, nearest_distances, read_points, search_tree
from .meshes import THRESHOLD, VOXEL, mesh_metrics, metrics_from_distances
from .rendered_frames import DepthComparison, DepthFusion, MeshArrays, rendered_frames

_VISIBLE = 1 - 1e-5
_CHUNK = 100_000
_REMEDY = "Unpack the scene's published ground truth there"


@dataclass(frozen=True)
class NeuralReconRecipe:
    """Everything that decides the numbers of NeuralRecon's protocol, in metres.

    Attributes:
        voxel_size, truncation, max_depth: of the fusion of the rendered depth.
        threshold, down_sample: of the mesh metrics.
        max_truth: ground-truth depth beyond it does not count for the depth metrics.
    """

    voxel_size: float = 0.04
    truncation: float = 0.12
    max_depth: float = 5.0
    threshold: float = THRESHOLD
    down_sample: float = VOXEL
    max_truth: float = 10.0

    def fusion(self) -> DepthFusion:
        """An empty volume of these settings."""
        return DepthFusion(self.voxel_size, self.truncation, self.max_depth)


@dataclass(frozen=True)
class TransformerFusionRecipe:
    """Everything that decides the numbers of TransformerFusion's protocol, in metres.

    Attributes:
        samples: points on the predicted mesh.
        threshold: of precision and recall (a distance equal to it counts).
        max_distance: larger distances count as this; what accuracy and completeness are where nothing was predicted.
        seed: of the samples.
    """

    samples: int = 200_000
    threshold: float = THRESHOLD
    max_distance: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class SingleLayerReference:
    """What TransformerFusion measures a scene against.

    Attributes:
        points: vertices of the true mesh, (N, 3).
        occluded: (X, Y, Z), 1 where the sensor saw nothing.
        world_to_grid: (4, 4), from the world to voxel centres of ``occluded`` (x, y, z).
    """

    points: Num[np.ndarray, "n 3"]
    occluded: Shaped[np.ndarray, "x y z"]
    world_to_grid: Num[np.ndarray, "4 4"]


def refuse_mesh(
    predicted: MeshArrays, views: Sequence[View], renderer: DepthRenderer, recipe: NeuralReconRecipe | None = None
) -> tuple[Num[np.ndarray, "p 3"], Num[np.ndarray, "q 3"]]:
    """The mesh that a mesh's depth in all views fuses to."""
    fusion = (recipe or NeuralReconRecipe()).fusion()
    for frame in rendered_frames(predicted, views, renderer):
        fusion.integrate(frame.depth, frame.intrinsics, frame.world_to_cam)
    return fusion.mesh()


def neural_recon_protocol(
    predicted: MeshArrays,
    truth: Num[np.ndarray, "k 3"],
    views: Sequence[View],
    renderer: DepthRenderer,
    recipe: NeuralReconRecipe | None = None,
) -> dict[str, float]:
    """Mesh metrics after NeuralRecon's protocol.

    Args:
        predicted: vertices and triangles; may be empty.
        truth: vertices of the true mesh, in the views' world.
        views: every frame of the scene.

    Raises:
        UserError: the truth is empty.
    """
    recipe = recipe or NeuralReconRecipe()
    vertices, _ = refuse_mesh(predicted, views, renderer, recipe)
    return mesh_metrics(vertices, truth, recipe.threshold, recipe.down_sample)


def rendered_depth_metrics(
    predicted: MeshArrays, views: Sequence[View], renderer: DepthRenderer, recipe: NeuralReconRecipe | None = None
) -> dict[str, float]:
    """Depth metrics of a mesh's rendered depth, see ``DepthComparison``.

    Args:
        predicted: vertices and triangles; may be empty.
        views: those without depth are left out.

    Raises:
        UserError: no view has depth.
    """
    known = [view for view in views if view.depth_path is not None]
    if not known:
        raise UserError("depth metrics", f"none of the {len(views)} views has depth", "Evaluate a scene with depth")
    comparison = DepthComparison((recipe or NeuralReconRecipe()).max_truth)
    for frame in rendered_frames(predicted, known, renderer):
        comparison.add(frame)
    return comparison.metrics()


def transformer_fusion_protocol(
    predicted: MeshArrays, reference: SingleLayerReference, recipe: TransformerFusionRecipe | None = None
) -> dict[str, float]:
    """Mesh metrics after TransformerFusion's protocol.

    As published, a prediction without triangles has precision 1 and recall 0; one that is occluded everywhere is
    measured whole.

    Args:
        predicted: vertices and triangles.

    Raises:
        UserError: the truth is empty.
    """
    recipe = recipe or TransformerFusionRecipe()
    truth = finite_points(np.asarray(reference.points, np.float64))
    if not len(truth):
        raise UserError("the ground-truth mesh", "has no finite vertex", _REMEDY)
    if not len(predicted[1]):
        farthest = dict.fromkeys(("accuracy", "completeness", "chamfer"), recipe.max_distance)
        return farthest | {"precision": 1.0, "recall": 0.0, "f_score": 0.0}
    points = sample_surface(*predicted, recipe.samples, recipe.seed)
    visible = points[visible_points(points, reference)]
    counted = visible if len(visible) else points
    to_truth = nearest_distances(counted, search_tree(truth))
    to_prediction = nearest_distances(truth, search_tree(points))
    limit = recipe.max_distance
    return metrics_from_distances(
        np.minimum(to_truth, limit), np.minimum(to_prediction, limit), recipe.threshold, strict=False
    )


def sample_surface(
    vertices: Num[np.ndarray, "n 3"], triangles: Num[np.ndarray, "m 3"], count: int, seed: int = 0
) -> Float[np.ndarray, "count 3"]:
    """Points spread uniformly over a mesh's area."""
    random = np.random.default_rng(seed)
    corners = np.asarray(vertices, np.float64)[triangles]
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    area = np.linalg.norm(np.cross(second - first, third - first), axis=1)
    chosen = np.searchsorted(np.cumsum(area) / area.sum(), random.random(count), side="right")
    chosen = np.minimum(chosen, len(triangles) - 1)
    # Uniform in a triangle: the square root spreads by area.
    a, b = np.sqrt(random.random(count))[:, None], random.random(count)[:, None]
    return (1 - a) * first[chosen] + a * (1 - b) * second[chosen] + a * b * third[chosen]


def visible_points(points: Float[np.ndarray, "n 3"], reference: SingleLayerReference) -> Bool[np.ndarray, " n"]:
    """Points whose eight surrounding voxels are all free of occlusion; outside of the grid everything is occluded."""
    free = torch.from_numpy(1 - reference.occluded.astype(np.float32))[None, None]
    matrix, last = reference.world_to_grid, np.array(reference.occluded.shape) - 1
    visible = np.zeros(len(points), bool)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        index = points[part] @ matrix[:3, :3].T + matrix[:3, 3]
        grid = torch.from_numpy((2 * index / last - 1)[:, ::-1].astype(np.float32).copy())  # last axis first
        value = F.grid_sample(free, grid[None, None, None], mode="bilinear", padding_mode="zeros", align_corners=True)
        visible[part] = value.reshape(-1).numpy() >= _VISIBLE
    return visible


def read_single_layer_reference(folder: str | Path) -> SingleLayerReference:
    """Read a scene of TransformerFusion's ground truth: ``mesh_gt.ply``, ``occlusion_mask.npy``, ``world2grid.txt``.

    Raises:
        UserError: a file is missing or malformed.
    """
    folder = Path(folder)
    try:
        occluded = np.load(folder / "occlusion_mask.npy", allow_pickle=False)
        world_to_grid = np.loadtxt(folder / "world2grid.txt")
    except (OSError, ValueError) as error:
        raise UserError(folder, f"has no readable occlusion_mask.npy and world2grid.txt ({error})", _REMEDY) from error
    if occluded.ndim != 3 or world_to_grid.shape != (4, 4):
        raise UserError(
            folder, f"holds a mask of shape {occluded.shape}, a transform of {world_to_grid.shape}", _REMEDY
        )
    return SingleLayerReference(read_points(folder / "mesh_gt.ply"), occluded, world_to_grid)
