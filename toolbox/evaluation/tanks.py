"""Precision, recall and F-score of point clouds on Tanks and Temples, as its published evaluation measures them.

(Knapitsch et al., "Tanks and Temples: Benchmarking Large-Scale Scene Reconstruction", SIGGRAPH 2017, section 4.)

1. The reconstruction is taken into the ground truth's frame by the scene's alignment, and on request refined by ICP.
2. Both clouds are cropped to the scene's polygon volume and averaged in voxels of half the threshold.
3. *Precision*: share of reconstructed points nearer than the threshold to the ground truth; *recall*: share of ground
   truth points nearer than it to the reconstruction (both strict); *F-score* 2 P R / (P + R).

Files of a scene's folder, here ``Barn``: ``Barn.ply`` (ground truth, m), ``Barn_trans.txt`` (4 x 4; takes the frame of
the published camera poses to the ground truth's), ``Barn.json`` (the polygon volume) and, needed only for a
reconstruction in a frame of its own, ``Barn_COLMAP_SfM.log`` (the published poses).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import open3d as o3d
from jaxtyping import Float

from toolbox.errors import UserError

from .clouds import CHUNK, chunks, finite_points, nearest_distances, read_points, search_tree

THRESHOLDS = {
    "Barn": 0.01,
    "Caterpillar": 0.005,
    "Church": 0.025,
    "Courthouse": 0.025,
    "Ignatius": 0.003,
    "Meetingroom": 0.01,
    "Truck": 0.005,
}
_MAX_ICP_POINTS = 4_000_000
_ICP_STEPS = 20
_REMEDY = "Unpack the scene's published evaluation files there"


@dataclass(frozen=True)
class TanksRecipe:
    """Everything that decides the numbers.

    Attributes:
        threshold: tau, in the ground truth's unit (m).
        voxel: edge of the voxels in which points are averaged, in thresholds.
        icp: refine the alignment in three rounds of point-to-point ICP with scale, from 80 to 2 thresholds of reach.
    """

    threshold: float
    voxel: float = 0.5
    icp: bool = False

    def __post_init__(self):
        for name in ("threshold", "voxel"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}={getattr(self, name)}", "must be positive", "Correct it")

    def to_dict(self) -> dict[str, float | bool]:
        """Plain values, for the report."""
        return asdict(self)


@dataclass(frozen=True)
class TanksReference:
    """What a scene is measured against: ground truth points, alignment to their frame, polygon volume."""

    points: Float[np.ndarray, "n 3"]
    alignment: Float[np.ndarray, "4 4"]
    volume: o3d.visualization.SelectionPolygonVolume


def published_threshold(scene: str) -> float:
    """The threshold of a training scene, in m.

    Raises:
        UserError: none is published for a scene of that name.
    """
    if scene not in THRESHOLDS:
        raise UserError(f"scene '{scene}'", "has no published threshold", f"Give one (known: {', '.join(THRESHOLDS)})")
    return THRESHOLDS[scene]


def _read_numbers(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(path, "does not exist", _REMEDY)
    try:
        return np.array([float(word) for word in path.read_text(encoding="utf-8").split()])
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(path, f"is no list of numbers ({error})", _REMEDY) from error


def read_alignment(path: str | Path) -> Float[np.ndarray, "4 4"]:
    """Read a 4 x 4 similarity transform, row by row.

    Raises:
        UserError: the file is missing or holds something else.
    """
    numbers = _read_numbers(Path(path))
    if numbers.size != 16 or not np.allclose(numbers[12:], (0, 0, 0, 1)):
        raise UserError(path, "is no transform (expected 4 rows of 4 numbers, the last 0 0 0 1)", _REMEDY)
    return numbers.reshape(4, 4)


def read_trajectory(path: str | Path) -> Float[np.ndarray, "v 4 4"]:
    """Read camera-to-world transforms of a trajectory file: per view a line of three numbers and four rows of four.

    Raises:
        UserError: the file is missing or malformed.
    """
    numbers = _read_numbers(Path(path))
    if not numbers.size or numbers.size % 19:
        raise UserError(path, "is no trajectory (expected per view a line of 3 numbers and 4 rows of 4)", _REMEDY)
    return np.ascontiguousarray(numbers.reshape(-1, 19)[:, 3:].reshape(-1, 4, 4))


def read_volume(path: str | Path) -> o3d.visualization.SelectionPolygonVolume:
    """Read a polygon volume: a polygon, extruded along ``orthogonal_axis`` from ``axis_min`` to ``axis_max``.

    Raises:
        UserError: the file is missing or is no such volume.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "does not exist", _REMEDY)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        volume = o3d.visualization.SelectionPolygonVolume()
        volume.orthogonal_axis = str(content["orthogonal_axis"]).upper()
        volume.axis_min, volume.axis_max = float(content["axis_min"]), float(content["axis_max"])
        polygon = np.array(content["bounding_polygon"], dtype=np.float64)
        if (
            volume.orthogonal_axis not in ("X", "Y", "Z")
            or polygon.ndim != 2
            or polygon.shape[1] != 3
            or len(polygon) < 3
        ):
            raise ValueError(
                "a polygon of three or more points with three coordinates, and an axis X, Y or Z, are needed"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(path, f"is no polygon volume ({error})", _REMEDY) from error
    volume.bounding_polygon = o3d.utility.Vector3dVector(polygon)
    return volume


def load_tanks_reference(folder: str | Path, scene: str | None = None) -> TanksReference:
    """Read a scene's ground truth, alignment and volume.

    Args:
        folder: holds ``<scene>.ply``, ``<scene>_trans.txt`` and ``<scene>.json``.
        scene: the folder's name if None.

    Raises:
        UserError: a file is missing or malformed.
    """
    folder = Path(folder)
    scene = scene or folder.resolve().name
    volume = read_volume(folder / f"{scene}.json")
    alignment = read_alignment(folder / f"{scene}_trans.txt")
    cloud = folder / f"{scene}.ply"
    if not cloud.is_file():
        raise UserError(cloud, "does not exist", _REMEDY)
    return TanksReference(finite_points(read_points(cloud)), alignment, volume)


def similarity_between(source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "4 4"]:
    """The similarity transform that takes points to their counterparts with the least squared error.

    (Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.)

    Raises:
        UserError: the points lie on a line, or are fewer than three.
    """
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    covariance = (target - to_mean).T @ (source - from_mean) / len(source)
    left, scales, right = np.linalg.svd(covariance)
    if len(source) < 3 or scales[1] <= 1e-9 * scales[0]:
        raise UserError("trajectory", "cannot be aligned: its cameras lie on a line", "Give one that turns a corner")
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale = (scales * signs).sum() / ((source - from_mean) ** 2).sum(axis=1).mean()
    similarity = np.eye(4)
    similarity[:3, :3] = scale * rotation
    similarity[:3, 3] = to_mean - scale * rotation @ from_mean
    return similarity


def align_trajectory(own: str | Path, published: str | Path) -> Float[np.ndarray, "4 4"]:
    """The similarity transform from a trajectory's frame to that of the scene's published one, by camera centres.

    Raises:
        UserError: a file is missing, or the two differ in length.
    """
    own_poses, published_poses = read_trajectory(own), read_trajectory(published)
    if len(own_poses) != len(published_poses):
        fault = f"has {len(own_poses)} views where {published} has {len(published_poses)}"
        raise UserError(own, fault, "Give a pose for each published one, in the same order")
    return similarity_between(own_poses[:, :3, 3], published_poses[:, :3, 3])


def crop_points(
    points: Float[np.ndarray, "n 3"],
    volume: o3d.visualization.SelectionPolygonVolume,
    transform: Float[np.ndarray, "4 4"] | None = None,
    chunk: int = CHUNK,
) -> Float[np.ndarray, "m 3"]:
    """The points that lie in a volume after a transform, transformed, in float64; ``chunk`` at a time."""
    transform = np.eye(4) if transform is None else transform
    inside = [np.empty((0, 3))]
    for part in chunks(len(points), chunk):
        moved = points[part].astype(np.float64) @ transform[:3, :3].T + transform[:3, 3]
        chosen = volume.crop_in_polygon(_open3d_cloud(moved))
        inside.append(moved[np.array(chosen, dtype=np.int64)])
    return np.concatenate(inside)


def _open3d_cloud(points: np.ndarray) -> o3d.geometry.PointCloud:
    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))


def average_in_voxels(points: Float[np.ndarray, "n 3"], voxel: float | int) -> Float[np.ndarray, "m 3"]:
    """The mean of the points of each voxel of a grid that starts half a voxel below the smallest coordinates."""
    return np.asarray(_open3d_cloud(points).voxel_down_sample(voxel).points)


def refine_alignment(
    points: Float[np.ndarray, "n 3"],
    reference: TanksReference,
    alignment: Float[np.ndarray, "4 4"],
    threshold: float,
) -> Float[np.ndarray, "4 4"]:
    """Refine an alignment by three rounds of point-to-point ICP with scale, on cropped clouds.

    Rounds: voxels of 1 threshold, reach 80; voxels of 1/2, reach 20; every point (at most 4 million), reach 2.
    """
    target = crop_points(reference.points, reference.volume)
    estimation = o3d.pipelines.registration.TransformationEstimationPointToPoint(True)
    criteria = o3d.pipelines.registration.ICPConvergenceCriteria(max_iteration=_ICP_STEPS)
    for voxel, reach in ((threshold, 80 * threshold), (threshold / 2, 20 * threshold), (None, 2 * threshold)):
        source = crop_points(points, reference.volume, alignment)
        if not len(source):
            return alignment
        clouds = [_open3d_cloud(_thinned(cloud, voxel)) for cloud in (source, target)]
        step = o3d.pipelines.registration.registration_icp(*clouds, reach, np.eye(4), estimation, criteria)
        alignment = step.transformation @ alignment
    return alignment


def _thinned(points: np.ndarray, voxel: float | None) -> np.ndarray:
    if voxel is not None:
        return average_in_voxels(points, voxel)
    return points[:: max(1, round(len(points) / _MAX_ICP_POINTS))]


def evaluate_tanks_points(
    points: Float[np.ndarray, "n 3"],
    reference: TanksReference,
    recipe: TanksRecipe,
    to_published: Float[np.ndarray, "4 4"] | None = None,
    workers: int = 1,
) -> dict[str, float | int]:
    """Precision, recall and F-score of a reconstruction (see the module).

    Args:
        to_published: takes the reconstruction to the frame of the published poses; None: it is in that frame.

    Returns:
        ``precision``, ``recall``, ``f_score`` in [0, 1], and how many points each step left: ``points``,
        ``points_not_finite``, ``points_cropped``, ``points_compared``, ``reference_points``, ``reference_cropped``,
        ``reference_compared``.

    Raises:
        UserError: a cloud has no point inside the volume.
    """
    finite = finite_points(points)
    alignment = reference.alignment if to_published is None else reference.alignment @ to_published
    if recipe.icp:
        alignment = refine_alignment(finite, reference, alignment, recipe.threshold)
    cropped = crop_points(finite, reference.volume, alignment)
    truth = crop_points(reference.points, reference.volume)
    for name, cloud in (("reconstruction", cropped), ("ground truth", truth)):
        if not len(cloud):
            raise UserError(name, "has no point inside the scene's volume", "Check its frame, and the alignment")
    edge = recipe.voxel * recipe.threshold
    own, true = average_in_voxels(cropped, edge), average_in_voxels(truth, edge)
    own_tree, true_tree = search_tree(own), search_tree(true)
    # Averages come in no order; a tree's own order has neighbours in space side by side, which is faster to look up.
    to_true = nearest_distances(own[own_tree.indices], true_tree, recipe.threshold, workers=workers)
    to_own = nearest_distances(true[true_tree.indices], own_tree, recipe.threshold, workers=workers)
    precision, recall = np.isfinite(to_true).mean(), np.isfinite(to_own).mean()
    both = float(precision + recall)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f_score": 2 * float(precision * recall) / both if both else 0.0,
        "points": len(points),
        "points_not_finite": len(points) - len(finite),
        "points_cropped": len(cropped),
        "points_compared": len(own),
        "reference_points": len(reference.points),
        "reference_cropped": len(truth),
        "reference_compared": len(true),
    }
