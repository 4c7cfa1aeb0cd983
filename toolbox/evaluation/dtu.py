"""Accuracy and completeness of point clouds on the DTU MVS data set, as its published MATLAB program measures them.

(Aanæs et al., "Large-Scale Data for Multiple-View Stereopsis", IJCV 2016.) All lengths in mm. For one scan:

1. The reconstruction is thinned until no two points are within ``min_spacing``: points are taken in random order, each
   kept one removes its neighbours.
2. *Accuracy*: distances of thinned points to the structured-light cloud, for the points inside the observability mask.
3. *Completeness*: distances of structured-light points to the thinned reconstruction (all of it, mask or not), for the
   points above the ground plane, P . (x, y, z, 1) > 0.
4. Distances of ``max_distance`` and more are outliers and count in no mean or median, only in their own number.
5. *Overall* is the mean of the two means.

The published program looks for neighbours in cubes of ``search_block`` that start at the corner of the mask's box and
cover it. Points outside of all cubes get the cubes' edge as their distance, which makes them outliers; so do we.

Files, as in the data set's ``SampleSet``: ``Points/stl/stl001_total.ply``, ``ObsMask/ObsMask1_10.mat`` (``ObsMask``,
``BB``, ``Res``) and ``ObsMask/Plane1.mat`` (``P``).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from toolbox.errors import UserError

from .clouds import CHUNK, finite_points, nearest_distances, read_points, search_tree, where_points

TEST_SCANS = (1, 4, 9, 10, 11, 12, 13, 15, 23, 24, 29, 32, 33, 34, 48, 49, 62, 75, 77, 110, 114, 118)
MEANS = ("accuracy", "completeness", "overall", "accuracy_median", "completeness_median")
_FIRST_BATCH = 4096
_REMEDY = "Unpack the data set's SampleSet (and Points) so that the file lies there"


@dataclass(frozen=True)
class DTURecipe:
    """Everything that decides the numbers. The defaults are the published ones.

    Attributes:
        min_spacing: mm; the reconstruction is thinned so that no two points are this close or closer.
        max_distance: mm; distances of this and more are outliers.
        margin: which observability mask, by the margin in its file's name.
        search_block: mm; edge of the cubes in which neighbours are searched; None counts points wherever they lie.
        seed: of the random order in which points are thinned.
    """

    min_spacing: float = 0.2
    max_distance: float = 20.0
    margin: int = 10
    search_block: float | None = 60.0
    seed: int = 0

    def __post_init__(self):
        for name in ("min_spacing", "max_distance", "search_block"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}={value}", "must be positive", "Correct it")
        if self.search_block is not None and self.search_block < self.max_distance:
            raise UserError(
                f"search_block={self.search_block}",
                f"is less than max_distance={self.max_distance}",
                "Give larger blocks, or none",
            )

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values, for the report."""
        return asdict(self)


@dataclass(frozen=True)
class DTUReference:
    """What one scan is measured against.

    Attributes:
        points: structured-light points, mm.
        observed: voxels of the observability mask, indexed x, y, z.
        box: smallest and largest corner of the mask, mm; voxel (0, 0, 0) is centred at the smallest.
        voxel: edge of a voxel, mm.
        plane: (a, b, c, d); points above it have a x + b y + c z + d > 0.
    """

    points: Float[np.ndarray, "n 3"]
    observed: Bool[np.ndarray, "x y z"]
    box: Float[np.ndarray, "2 3"]
    voxel: float
    plane: Float[np.ndarray, "4"]


def reference_files(root: str | Path, scan: int, margin: int = 10) -> tuple[Path, Path, Path]:
    """Paths of a scan's structured-light cloud, observability mask and ground plane.

    Raises:
        UserError: one of them is missing.
    """
    root = Path(root)
    files = (
        root / "Points" / "stl" / f"stl{scan:03d}_total.ply",
        root / "ObsMask" / f"ObsMask{scan}_{margin}.mat",
        root / "ObsMask" / f"Plane{scan}.mat",
    )
    for path in files:
        if not path.is_file():
            raise UserError(path, "does not exist", _REMEDY)
    return files


def _read_mat(path: Path, shapes: dict[str, tuple[int, ...] | None]) -> list[np.ndarray]:
    """Variables of a MATLAB file, reshaped; None takes any volume."""
    try:
        content = scipy.io.loadmat(path, variable_names=list(shapes))
    except Exception as error:  # the parser meets damaged bytes with errors of every kind
        raise UserError(path, f"cannot be read as a MATLAB file ({error})", _REMEDY) from error
    values = []
    for name, shape in shapes.items():
        value = content.get(name)
        numeric = isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        if not numeric or (value.ndim != 3 if shape is None else value.size != np.prod(shape)):
            wanted = "a volume" if shape is None else f"{' x '.join(map(str, shape))} numbers"
            raise UserError(path, f"has no variable '{name}' of {wanted}", _REMEDY)
        values.append(value if shape is None else value.reshape(shape))
    return values


def load_dtu_reference(root: str | Path, scan: int, margin: int = 10) -> DTUReference:
    """Read what a scan is measured against.

    Raises:
        UserError: a file is missing or is not what its name says.
    """
    cloud, mask, plane = reference_files(root, scan, margin)
    observed, box, voxel = _read_mat(mask, {"ObsMask": None, "BB": (2, 3), "Res": (1,)})
    (coefficients,) = _read_mat(plane, {"P": (4,)})
    box = box.astype(np.float64)
    if not (voxel[0] > 0 and (box[1] > box[0]).all()):
        raise UserError(mask, "has a box or a resolution that is not positive", _REMEDY)
    return DTUReference(
        finite_points(read_points(cloud)), observed != 0, box, float(voxel[0]), coefficients.astype(np.float64)
    )


def _first_come_first_kept(points: Float[np.ndarray, "n 3"], spacing: float | int) -> Bool[np.ndarray, " n"]:
    """Which points stay if each one that stays removes all later ones within ``spacing``.

    Solved in rounds: points that no undecided earlier point can remove stay, and remove their neighbours.
    """
    undecided, kept = np.ones(len(points), dtype=bool), np.zeros(len(points), dtype=bool)
    pairs = cKDTree(points).query_pairs(spacing, output_type="ndarray")  # earlier, later
    while len(pairs):
        first = undecided.copy()
        first[pairs[:, 1]] = False
        kept |= first
        undecided &= ~first
        undecided[pairs[first[pairs[:, 0]], 1]] = False
        pairs = pairs[undecided[pairs].all(axis=1)]
    return kept | undecided


def reduce_points(
    points: Float[np.ndarray, "n 3"],
    spacing: float | int,
    seed: int = 0,
    chunk: int = CHUNK,
    workers: int = 1,
) -> Float[np.ndarray, "m 3"]:
    """Thin a cloud: no two remaining points lie within ``spacing``, and each removed one within it of a remaining one.

    Points are taken in a random order, and each kept one removes its neighbours. The order is walked in batches that
    double in size: most of a batch falls to points kept before, so few of its points need comparing with one another.

    Args:
        seed: of the order. Neither ``chunk`` nor ``workers`` change the result.
    """
    order = np.random.default_rng(seed).permutation(len(points))
    kept = order[:0]
    reach = np.nextafter(float(spacing), np.inf)  # a search's limit is strict, the spacing is not
    start = 0
    while start < len(order):
        batch = order[start : start + max(start, _FIRST_BATCH)]
        start += len(batch)
        if len(kept):
            by_index = np.argsort(batch)  # neighbours in the file are often neighbours in space: faster searches
            free = np.empty(len(batch), dtype=bool)
            free[by_index] = _far_from(points, batch[by_index], search_tree(points[kept]), reach, chunk, workers)
            batch = batch[free]
        if len(batch):
            kept = np.concatenate((kept, batch[_first_come_first_kept(points[batch], spacing)]))
    return points[np.sort(kept)]


def _far_from(
    points: Float[np.ndarray, "n 3"],
    indices: Int[np.ndarray, " m"],
    tree: cKDTree,
    reach: float,
    chunk: int,
    workers: int,
) -> Bool[np.ndarray, " m"]:
    """Whether no point of ``tree`` is nearer than ``reach``, for chosen points."""
    return np.isinf(nearest_distances(points[indices], tree, reach, chunk, workers))


def in_mask(
    points: Float[np.ndarray, "n 3"], observed: Bool[np.ndarray, "x y z"], box: Float[np.ndarray, "2 3"], voxel: float
) -> Bool[np.ndarray, " n"]:
    """Whether points lie in observed voxels; the nearest voxel centre decides, halves go up (as MATLAB rounds)."""
    size = np.array(observed.shape)

    def is_observed(part: np.ndarray) -> np.ndarray:
        index = np.floor((part - box[0]) / voxel + 0.5)
        inside = ((index >= 0) & (index < size)).all(axis=1)
        inside[inside] = observed[tuple(index[inside].astype(np.int64).T)]
        return inside

    return where_points(points, is_observed)


def above_plane(points: Float[np.ndarray, "n 3"], plane: Float[np.ndarray, "4"]) -> Bool[np.ndarray, " n"]:
    """Whether a x + b y + c z + d > 0 (strict)."""
    return where_points(points, lambda part: part @ plane[:3] + plane[3] > 0)


def in_search_blocks(
    points: Float[np.ndarray, "n 3"], box: Float[np.ndarray, "2 3"], block: float | int | None
) -> Bool[np.ndarray, " n"]:
    """Whether points lie in the cubes of edge ``block`` that start at the box's corner and cover it; None: all do."""
    if block is None:
        return np.ones(len(points), dtype=bool)
    end = box[0] + (np.floor((box[1] - box[0]) / block) + 1) * block
    return where_points(points, lambda part: ((part >= box[0]) & (part < end)).all(axis=1))


def _spread(distances: np.ndarray, name: str, counted: str) -> dict[str, float]:
    """Mean and median of the distances that are no outliers (finite)."""
    within = distances[np.isfinite(distances)]
    if not len(within):
        fault = f"cannot be measured: of {len(distances)} points that count, none is near {counted}"
        raise UserError(name, fault, "Check the cloud's frame and unit")
    return {name: float(within.mean()), f"{name}_median": float(np.median(within))}


def evaluate_dtu_points(
    points: Float[np.ndarray, "n 3"],
    reference: DTUReference,
    recipe: DTURecipe | None = None,
    chunk: int = CHUNK,
    workers: int = 1,
) -> dict[str, float | int]:
    """Accuracy, completeness and overall of a reconstruction in the data set's frame, in mm (see the module).

    Returns:
        ``accuracy``, ``completeness`` (means), ``overall``, the medians, and how many points each step left:
        ``points``, ``points_not_finite``, ``points_reduced``, ``points_in_mask``, ``points_outliers``,
        ``reference_points``, ``reference_above_plane``, ``reference_outliers``.

    Raises:
        UserError: no distance is left to average.
    """
    recipe = recipe or DTURecipe()
    finite = finite_points(points)
    reduced = reduce_points(finite, recipe.min_spacing, recipe.seed, chunk, workers)
    num_points, num_finite = len(points), len(finite)
    del points, finite

    # In turns: one tree and the distances to it are in memory at a time.
    counted = reduced[in_mask(reduced, reference.observed, reference.box, reference.voxel)]
    to_reference = nearest_distances(counted, search_tree(reference.points), recipe.max_distance, chunk, workers)
    to_reference[~in_search_blocks(counted, reference.box, recipe.search_block)] = np.inf
    above = reference.points[above_plane(reference.points, reference.plane)]
    to_points = nearest_distances(above, search_tree(reduced), recipe.max_distance, chunk, workers)
    to_points[~in_search_blocks(above, reference.box, recipe.search_block)] = np.inf

    accuracy = _spread(to_reference, "accuracy", "the reference")
    completeness = _spread(to_points, "completeness", "the reconstruction")
    return {
        "accuracy": accuracy["accuracy"],
        "completeness": completeness["completeness"],
        "overall": (accuracy["accuracy"] + completeness["completeness"]) / 2,
        "accuracy_median": accuracy["accuracy_median"],
        "completeness_median": completeness["completeness_median"],
        "points": num_points,
        "points_not_finite": num_points - num_finite,
        "points_reduced": len(reduced),
        "points_in_mask": len(counted),
        "points_outliers": int(np.isinf(to_reference).sum()),
        "reference_points": len(reference.points),
        "reference_above_plane": len(above),
        "reference_outliers": int(np.isinf(to_points).sum()),
    }


def evaluate_dtu_scan(
    cloud: str | Path, root: str | Path, scan: int, recipe: DTURecipe | None = None, workers: int = 1
) -> dict[str, float | int]:
    """``evaluate_dtu_points`` for a PLY file and the data set's folder.

    Raises:
        UserError: a file is missing or damaged, or the cloud has nothing that can be measured.
    """
    recipe = recipe or DTURecipe()
    reference = load_dtu_reference(root, scan, recipe.margin)
    try:
        return evaluate_dtu_points(read_points(cloud), reference, recipe, workers=workers)
    except UserError as error:
        if error.where not in ("accuracy", "completeness"):
            raise
        fault = f"scan {scan}: its {error.where} {error.fault}"
        raise UserError(cloud, fault, "Give the cloud in the data set's frame, in mm") from error


def average_dtu_scans(scores: list[dict[str, float | int]]) -> dict[str, float]:
    """Mean of each measure over scans, each scan counting the same, however many points it has."""
    return {name: float(np.mean([score[name] for score in scores])) for name in MEANS}
