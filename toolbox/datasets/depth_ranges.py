"""The depth range of a view: given, the source's, or from sparse points."""

import numpy as np

from toolbox.errors import UserError
from toolbox.structures import Scene, View

# Sparse points thin out towards both ends of what a view sees, and a few are wrong: cut the tails, then widen.
_PERCENTILES = (1.0, 99.0)
_MARGIN = (0.8, 1.25)
_ENOUGH_POINTS = 10


def depth_range_for(scene: Scene, view_id: int, given: tuple[float, float] | None = None) -> tuple[float, float]:
    """(near, far) of a view in the scene's unit.

    ``given`` where it is not None; else the view's own range; else from the sparse points: 0.8 times the 1st and 1.25
    times the 99th percentile of the depths of the points that the view observed (or, where those are fewer than ten, of
    all points that fall into its image).

    Raises:
        UserError: the range is not finite with 0 < near < far, or nothing tells the range.
        KeyError: the scene has no such view.
    """
    view = scene.view(view_id)
    if given is not None:
        return _validated(given, "the given depth range")
    if view.depth_range is not None:
        return _validated(
            view.depth_range, f"the depth range of view {view_id} ('{view.name}') of scene '{scene.name}'"
        )
    depths = _depths_of_points(scene, view)
    if len(depths) < _ENOUGH_POINTS:
        raise UserError(
            f"scene '{scene.name}', view {view_id} ('{view.name}')",
            f"has no depth range, and {len(depths)} sparse points to tell one from",
            "Give a depth range: the distances of the nearest and the farthest surface in the scene's unit",
        )
    low, high = np.percentile(depths, _PERCENTILES)
    return _validated((low * _MARGIN[0], high * _MARGIN[1]), f"the sparse points of scene '{scene.name}'")


def _validated(depth_range: tuple[float, float], where: str) -> tuple[float, float]:
    near, far = float(depth_range[0]), float(depth_range[1])
    if not (np.isfinite(near) and np.isfinite(far) and 0 < near < far):
        raise UserError(where, f"is {near:g} .. {far:g}", "A depth range is finite with 0 < near < far")
    return near, far


def _depths_of_points(scene: Scene, view: View) -> np.ndarray:
    """Depths of the points the view observed, in front of it; of all in its image where those are few."""
    if scene.points is None:
        return np.zeros(0)
    in_camera = scene.points.xyz @ view.world_to_cam[:3, :3].T + view.world_to_cam[:3, 3]
    front = in_camera[:, 2] > 0
    observed = scene.points.observed_by(view.id)
    depths = in_camera[front & observed, 2]
    if len(depths) >= _ENOUGH_POINTS:
        return depths
    safe = np.where(front, in_camera[:, 2], 1.0)
    pixels = (in_camera @ view.intrinsics.T)[:, :2] / safe[:, None]
    inside = (pixels > -0.5).all(axis=1) & (pixels < np.array(view.size[::-1]) - 0.5).all(axis=1)
    return in_camera[front & inside, 2]
