"""Sparse points for scenes that come with poses only: SIFT matches checked against the poses, triangulated."""

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from toolbox.datasets.view_selection import ViewSelector
from toolbox.errors import UserError
from toolbox.structures import Scene, SparsePoints, View


@dataclass(frozen=True)
class _Features:
    """Keypoints of a view: (N, 2) positions and (3, 4) projection, both of the downscaled image; descriptors."""

    xy: np.ndarray
    descriptors: np.ndarray
    projection: np.ndarray
    centre: np.ndarray


def triangulate_sparse_points(
    scene: Scene,
    max_size: int = 960,
    max_features: int = 3000,
    neighbours: int = 6,
    ratio: float = 0.8,
    max_error: float = 1.5,
    min_angle: float = 1.5,
    depth_range: tuple[float, float] | None = None,
    progress: bool = True,
) -> SparsePoints:
    """Points triangulated from the scene's images with its poses, so that depth ranges and sources have real geometry.

    Each view is matched with its best neighbours by the cameras alone (SIFT, mutual nearest neighbours, ratio test);
    matches off the epipolar line are dropped; the others are merged into tracks, triangulated linearly, and kept where
    all observations reproject and some pair of rays meets at an angle. Deterministic.

    Args:
        scene: posed images.
        max_size: images are downscaled so that their longer side has at most this many pixels.
        max_features: SIFT features per image, the strongest.
        neighbours: views that each view is matched with.
        ratio: Lowe's ratio test, nearest to second nearest descriptor.
        max_error: pixels of the downscaled image, from the epipolar line and of the reprojection.
        min_angle: degrees, of the widest pair of rays.
        depth_range: (near, far), where known: finds better neighbours.
        progress: show a progress bar.

    Returns:
        Points in the scene's world with the views that observed them.

    Raises:
        UserError: an image cannot be read, or no point could be triangulated.
    """
    views = scene.views
    features = [
        _detect(view, max_size, max_features)
        for view in tqdm(views, desc="features", disable=not progress, unit="view")
    ]
    pairs = _neighbour_pairs(scene, neighbours, depth_range)
    matches = {
        (i, j): _matched(features[i], features[j], ratio, max_error)
        for i, j in tqdm(pairs, desc="matching", disable=not progress, unit="pair")
    }
    tracks = _merge_tracks([len(f.xy) for f in features], matches)
    xyz, seen = _triangulate_tracks(tracks, features, max_error, min_angle)
    if not len(xyz):
        raise UserError(
            f"scene '{scene.name}'",
            f"gave no triangulated point ({sum(map(len, matches.values()))} matches in {len(pairs)} pairs of views)",
            "Check that the poses belong to the images; or give a depth range",
        )
    ids = np.array([view.id for view in views])
    return SparsePoints(xyz, [np.sort(ids[members]) for members in seen])


def _detect(view: View, max_size: int, max_features: int) -> _Features:
    image = cv2.cvtColor(view.image(), cv2.COLOR_RGB2GRAY)
    scale = min(1.0, max_size / max(image.shape))
    height, width = (max(1, round(side * scale)) for side in image.shape)
    if scale < 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    keypoints, descriptors = cv2.SIFT_create(nfeatures=max_features).detectAndCompute(image, None)
    xy = np.array([point.pt for point in keypoints], dtype=np.float64).reshape(-1, 2)
    sx, sy = width / view.size[1], height / view.size[0]
    intrinsics = np.diag([sx, sy, 1.0]) @ view.intrinsics
    intrinsics[:2, 2] += 0.5 * np.array([sx, sy]) - 0.5
    if descriptors is None:
        descriptors = np.zeros((0, 128), np.float32)
    return _Features(xy, descriptors, intrinsics @ view.world_to_cam[:3], view.centre)


def _neighbour_pairs(scene: Scene, count: int, depth_range: tuple[float, float] | None) -> list[tuple[int, int]]:
    selector = ViewSelector(scene, depth_range)
    index = {view.id: k for k, view in enumerate(scene.views)}
    pairs = set()
    for view in scene.views:
        for source in selector.sources(view.id, count):
            i, j = index[view.id], index[source]
            pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def _matched(a: _Features, b: _Features, ratio: float, max_error: float) -> np.ndarray:
    """(M, 2) features of a and b that match each other and lie on each other's epipolar lines."""
    if min(len(a.xy), len(b.xy)) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    similarity = a.descriptors @ b.descriptors.T
    distance = (a.descriptors**2).sum(axis=1)[:, None] + (b.descriptors**2).sum(axis=1) - 2.0 * similarity
    nearest, second = np.partition(distance, 1, axis=1)[:, :2].T
    forward, backward = distance.argmin(axis=1), distance.argmin(axis=0)
    first = np.flatnonzero((nearest < ratio**2 * second) & (backward[forward] == np.arange(len(a.xy))))
    matches = np.stack((first, forward[first]), axis=1)
    error = epipolar_distance(a.projection, b.projection, a.xy[matches[:, 0]], b.xy[matches[:, 1]])
    return matches[error < max_error]


def epipolar_distance(p_a: np.ndarray, p_b: np.ndarray, xy_a: np.ndarray, xy_b: np.ndarray) -> np.ndarray:
    """The larger of the two distances (pixels) of matching positions (M, 2) from each other's epipolar lines.

    Args:
        p_a, p_b: (3, 4) projections. Views at one position have no epipolar lines: their distance is infinite.
    """
    centre = np.append(-np.linalg.solve(p_a[:, :3], p_a[:, 3]), 1.0)
    epipole = p_b @ centre
    if np.linalg.norm(epipole) < 1e-9 * np.linalg.norm(p_b[:, :3]) * max(np.linalg.norm(centre), 1.0):
        return np.full(len(xy_a), np.inf)
    cross = np.array([[0, -epipole[2], epipole[1]], [epipole[2], 0, -epipole[0]], [-epipole[1], epipole[0], 0]])
    fundamental = cross @ p_b[:, :3] @ np.linalg.inv(p_a[:, :3])
    a, b = (np.concatenate((xy, np.ones((len(xy), 1))), axis=1) for xy in (xy_a, xy_b))
    lines_b, lines_a = a @ fundamental.T, b @ fundamental
    residual = np.abs((b * lines_b).sum(axis=1))
    norms = np.minimum(np.linalg.norm(lines_a[:, :2], axis=1), np.linalg.norm(lines_b[:, :2], axis=1))
    return residual / np.maximum(norms, 1e-300)


def _merge_tracks(counts: list[int], matches: dict[tuple[int, int], np.ndarray]) -> list[list[tuple[int, int]]]:
    """Connected features as tracks of (view, feature); tracks with two features of one view are dropped."""
    starts = np.concatenate(([0], np.cumsum(counts)))
    edges = [pairs + np.array((starts[i], starts[j])) for (i, j), pairs in matches.items()]
    edges = np.concatenate(edges) if edges else np.zeros((0, 2), dtype=np.int64)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(starts[-1], starts[-1]))
    labels = connected_components(graph, directed=False)[1]
    view_of = np.repeat(np.arange(len(counts)), counts)
    members = defaultdict(list)
    for node in np.unique(edges):
        view = int(view_of[node])
        members[labels[node]].append((view, int(node - starts[view])))
    return [track for track in members.values() if len({view for view, _ in track}) == len(track)]


def _triangulate_tracks(
    tracks: list[list[tuple[int, int]]], features: list[_Features], max_error: float, min_angle: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Points (N, 3) of the tracks that pass the checks, and the views of each; tracks of a length at once."""
    by_length = defaultdict(list)
    for track in tracks:
        by_length[len(track)].append(track)
    projections, centres = np.stack([f.projection for f in features]), np.stack([f.centre for f in features])
    all_xyz, all_views = [np.zeros((0, 3))], []
    for _, group in sorted(by_length.items()):
        views = np.array([[view for view, _ in track] for track in group])
        xy = np.array([[features[view].xy[k] for view, k in track] for track in group])
        xyz = triangulate(projections[views], xy)
        good = _is_supported(xyz, projections[views], xy, max_error) & (_widest_angle(xyz, centres[views]) > min_angle)
        all_xyz.append(xyz[good])
        all_views += list(views[good])
    return np.concatenate(all_xyz), all_views


def triangulate(projections: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Linear (DLT) triangulation of N points from V views each.

    Args:
        projections: (N, V, 3, 4).
        xy: (N, V, 2) pixels.

    Returns:
        (N, 3); not finite for a point at infinity.
    """
    rows = xy[..., None] * projections[:, :, 2:3] - projections[:, :, :2]
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    solution = np.linalg.svd(rows.reshape(len(xy), -1, 4))[2][:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return solution[:, :3] / solution[:, 3:]


def _is_supported(xyz: np.ndarray, projections: np.ndarray, xy: np.ndarray, max_error: float) -> np.ndarray:
    """Where a point lies in front of all its views and reprojects to within ``max_error`` in all of them."""
    finite = np.isfinite(xyz).all(axis=1)
    homogeneous = np.concatenate((np.where(finite[:, None], xyz, 0), np.ones((len(xyz), 1))), axis=1)
    projected = np.einsum("nvij,nj->nvi", projections, homogeneous)
    front = projected[..., 2] > 0
    pixels = projected[..., :2] / np.where(front, projected[..., 2], 1)[..., None]
    close = np.linalg.norm(pixels - xy, axis=-1) < max_error
    return finite & (front & close).all(axis=1)


def _widest_angle(xyz: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Degrees between the two most different rays of each point; centres (N, V, 3)."""
    rays = np.nan_to_num(xyz)[:, None] - centres
    rays /= np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-300)
    cosines = np.einsum("nvi,nwi->nvw", rays, rays).reshape(len(xyz), -1)
    return np.degrees(np.arccos(np.clip(cosines.min(axis=1), -1, 1)))
