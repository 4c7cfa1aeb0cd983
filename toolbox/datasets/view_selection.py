"""Which source views go with a reference: from the source's pairs, from sparse points, or from the cameras alone."""

from functools import cached_property

import numpy as np

from toolbox.errors import UserError
from toolbox.structures import Scene, View

from .depth_ranges import depth_range_for

# MVSNet's score (Yao et al., ECCV 2018, section 4.1): triangulation angles in degrees.
BEST_ANGLE, _SIGMA_BELOW, _SIGMA_ABOVE = 5.0, 1.0, 10.0
# Below this angle two views are one as far as depth is concerned.
_SAME_POSITION_ANGLE = 0.05
_MAX_POINT_PAIRS = 4_000_000
# A reference's frustum is probed by this many pixels across, down, and depths along each ray (uniform in 1 / depth).
_PROBES = (5, 4, 4)


def angle_weight(degrees: np.ndarray, best_angle: float = BEST_ANGLE) -> np.ndarray:
    """MVSNet's weight of a triangulation angle: 1 at 5 degrees, falling fast below and slowly above; 0 at no angle.

    Another best angle stretches the curve.
    """
    off = degrees * (BEST_ANGLE / best_angle) - BEST_ANGLE
    weight = np.exp(-(off**2) / (2 * np.where(off <= 0, _SIGMA_BELOW, _SIGMA_ABOVE) ** 2))
    return np.where(degrees < _SAME_POSITION_ANGLE, 0.0, weight)


class ViewSelector:
    """Ranks source views for every reference of a scene; tables are computed once, when first asked for.

    Args:
        scene: with at least one view.
        depth_range: (near, far) for all views where the scene does not know better; only the ranking from cameras uses
            it.
        best_angle: triangulation angle of the best source, degrees. More than MVSNet's 5 takes wider baselines: from
            dense video, say, whose neighbours hardly differ.
        spread: 0 takes the views in the order of their scores. More passes over a view that stands near one already
            taken, within ``spread`` times its own distance from the reference (greedy non-maximum suppression);
            those passed over come after all others.

    Raises:
        UserError: ``best_angle`` is not between 0 and 180, or ``spread`` not from 0 to below 1.
    """

    def __init__(
        self,
        scene: Scene,
        depth_range: tuple[float, float] | None = None,
        best_angle: float = BEST_ANGLE,
        spread: float = 0.0,
    ):
        if not 0 < best_angle < 180:
            raise UserError(f"best_angle={best_angle}", "is no triangulation angle", "Give degrees, 5 to 15 or so")
        if not 0 <= spread < 1:
            raise UserError(f"spread={spread}", "is no fraction of a distance", "Give 0 (off) to 0.5 or so")
        self.scene, self.depth_range = scene, depth_range
        self.best_angle, self.spread = best_angle, spread
        self._index = {view.id: k for k, view in enumerate(scene.views)}
        self._ids = np.array([view.id for view in scene.views])
        self._rows: dict[int, np.ndarray] = {}

    def sources(self, view_id: int, num: int) -> list[int]:
        """Ids of the ``num`` best source views of a reference, best first; fewer where fewer overlap with it.

        Where the source lists pairs of the reference, those, in order. Else the views with a positive MVSNet score
        over common sparse points, or, in a scene without points, over probes of the reference's frustum; not those at
        the reference's own position. Ties go to the smaller angle between viewing directions, then to the smaller id.

        Raises:
            KeyError: the scene has no such view.
        """
        reference = self._index[view_id]
        listed = [s for s, _ in (self.scene.pairs or {}).get(view_id, []) if s in self._index and s != view_id]
        return list(dict.fromkeys(listed))[:num] if listed else self._ranked(reference)[:num]

    def _ranked(self, reference: int) -> list[int]:
        scores = self._scores_of(reference)
        order = np.lexsort((self._ids, self._turn[reference], -scores))
        useful = (scores > 0) & ~self._coincident[reference]
        ranked = [int(k) for k in order if useful[k]]
        return [int(self._ids[k]) for k in (self._spread_out(ranked, reference) if self.spread else ranked)]

    def _spread_out(self, ranked: list[int], reference: int) -> list[int]:
        """Those that stand apart from all taken before them, then the others; each part in the given order."""
        taken, passed = [], []
        for k in ranked:
            least = self.spread * np.linalg.norm(self._centres[k] - self._centres[reference])
            apart = np.linalg.norm(self._centres[taken] - self._centres[k], axis=1) >= least
            (taken if apart.all() else passed).append(k)
        return taken + passed

    def _scores_of(self, reference: int) -> np.ndarray:
        """(V,) score of each view as a source of the reference."""
        if self.scene.points is not None:
            return self._point_scores[reference]
        if reference not in self._rows:
            self._rows[reference] = self._frustum_scores(self.scene.views[reference])
        return self._rows[reference]

    @cached_property
    def _centres(self) -> np.ndarray:
        return np.stack([view.centre for view in self.scene.views])

    @cached_property
    def _axes(self) -> np.ndarray:
        """(V, 3) optical axes in the world."""
        return np.stack([view.world_to_cam[2, :3] for view in self.scene.views])

    @cached_property
    def _turn(self) -> np.ndarray:
        """(V, V) angle between viewing directions, degrees; rounded so that rounding noise breaks no tie."""
        return np.round(np.degrees(np.arccos(np.clip(self._axes @ self._axes.T, -1, 1))), 4)

    @cached_property
    def _coincident(self) -> np.ndarray:
        """(V, V) whether two views stand at one position (to a millionth of the scene's extent)."""
        distance = np.linalg.norm(self._centres[:, None] - self._centres[None], axis=-1)
        return distance <= 1e-6 * max(distance.max(), 1e-300)

    @cached_property
    def _point_scores(self) -> np.ndarray:
        """(V, V) MVSNet's score: the sum over common points of the weight of the triangulation angle."""
        points, count = self.scene.points, len(self._ids)
        tracks = [np.array([self._index[i] for i in np.unique(ids) if i in self._index]) for ids in points.view_ids]
        lengths = np.array([len(track) for track in tracks])
        pairs_of = lengths * (lengths - 1) // 2
        stride = max(1, int(np.ceil(pairs_of.sum() / _MAX_POINT_PAIRS)))
        picked = np.arange(len(tracks))[::stride]
        scores = np.zeros((count, count))
        for length in np.unique(lengths[picked]):
            if length < 2:
                continue
            members = picked[lengths[picked] == length]
            views = np.stack([tracks[k] for k in members])
            rays = points.xyz[members][:, None] - self._centres[views]
            rays /= np.maximum(np.linalg.norm(rays, axis=-1, keepdims=True), 1e-300)
            first, second = np.triu_indices(length, 1)
            weight = angle_weight(_degrees_between(rays[:, first], rays[:, second]), self.best_angle)
            np.add.at(scores, (views[:, first], views[:, second]), weight)
        return scores + scores.T

    def _frustum_scores(self, view: View) -> np.ndarray:
        """(V,) mean over probes of the view's frustum: weight of the angle where the source sees the probe, else 0."""
        probes = _frustum_probes(view, *self._range(view))
        in_camera = np.einsum("vij,nj->vni", self._world_to_cam[:, :3, :3], probes) + self._world_to_cam[:, None, :3, 3]
        depth = in_camera[..., 2]
        front = depth > 1e-9
        pixels = np.einsum("vij,vnj->vni", self._intrinsics, in_camera)[..., :2] / np.where(front, depth, 1)[..., None]
        inside = (pixels > -0.5).all(axis=-1) & (pixels < self._sizes[:, None] - 0.5).all(axis=-1) & front
        to_source = probes[None] - self._centres[:, None]
        to_reference = probes - view.centre
        angles = _degrees_between(to_source, np.broadcast_to(to_reference, to_source.shape))
        return np.round((angle_weight(angles, self.best_angle) * inside).mean(axis=1), 12)

    @cached_property
    def _world_to_cam(self) -> np.ndarray:
        return np.stack([view.world_to_cam for view in self.scene.views])

    @cached_property
    def _intrinsics(self) -> np.ndarray:
        return np.stack([view.intrinsics for view in self.scene.views])

    @cached_property
    def _sizes(self) -> np.ndarray:
        """(V, 2) width and height."""
        return np.array([view.size[::-1] for view in self.scene.views])

    def _range(self, view: View) -> tuple[float, float]:
        """The view's depth range, the given one, or a guess from how the cameras stand."""
        try:
            return depth_range_for(self.scene, view.id, None if view.depth_range else self.depth_range)
        except UserError:
            if view.depth_range is not None or self.depth_range is not None:
                raise
        focus = self._focus
        if focus is not None:
            distance = float((focus - view.centre) @ view.world_to_cam[2, :3])
            if distance > 0.1 * np.linalg.norm(focus - view.centre):
                return 0.5 * distance, 1.5 * distance
        extent = float(np.linalg.norm(np.ptp(self._centres, axis=0)))
        return (0.25 * extent, 1.5 * extent) if extent > 0 else (1.0, 2.0)

    @cached_property
    def _focus(self) -> np.ndarray | None:
        """The point nearest to all optical axes; None where the axes do not tell one or it lies behind cameras."""
        projectors = np.eye(3) - self._axes[:, :, None] * self._axes[:, None]
        matrix = projectors.sum(axis=0)
        if np.linalg.eigvalsh(matrix)[0] < 1e-3 * len(self._ids):
            return None
        point = np.linalg.solve(matrix, np.einsum("vij,vj->i", projectors, self._centres))
        in_front = ((point - self._centres) * self._axes).sum(axis=1) > 0
        return point if in_front.mean() >= 0.8 else None


def select_sources(scene: Scene, view_id: int, num: int) -> list[int]:
    """Ids of the ``num`` best source views of a reference, best first; ``ViewSelector`` keeps tables for many asks."""
    return ViewSelector(scene).sources(view_id, num)


def _degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between vectors (..., 3), good to 1e-5 degrees."""
    dot = np.einsum("...i,...i->...", a, b)
    squares = np.einsum("...i,...i->...", a, a) * np.einsum("...i,...i->...", b, b)
    return np.degrees(np.arctan2(np.sqrt(np.maximum(squares - dot**2, 0.0)), dot))


def _frustum_probes(view: View, near: float, far: float) -> np.ndarray:
    """(N, 3) world points spread over a view's frustum."""
    across, down, along = _PROBES
    height, width = view.size
    x = (np.arange(across) + 0.5) / across * width - 0.5
    y = (np.arange(down) + 0.5) / down * height - 0.5
    depths = 1 / np.linspace(1 / near, 1 / far, along)
    gx, gy, gz = (grid.ravel() for grid in np.meshgrid(x, y, depths, indexing="ij"))
    rays = np.stack((gx, gy, np.ones_like(gx)), axis=1) @ np.linalg.inv(view.intrinsics).T
    return (rays * gz[:, None] - view.world_to_cam[:3, 3]) @ view.world_to_cam[:3, :3]
