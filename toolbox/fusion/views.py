"""What fusion reads: posed depth maps, loaded when they are needed."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from toolbox.errors import UserError


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class FusionView:
    """A posed depth map. The three functions read their arrays anew at each call, so a long scene stays on disk.

    Attributes:
        id: unique in the scene.
        intrinsics: (3, 3), of the depth map's grid; pixel centres are integers.
        world_to_cam: (4, 4), rigid; OpenCV axes.
        depth: gives z-depth (H, W) in the scene's unit; 0, negative or non-finite where unknown.
        confidence: gives (H, W) in [0, 1], or None where every known depth counts.
        image: gives RGB uint8 (H, W, 3) at the depth map's resolution, or None (points are grey).
    """

    id: int
    intrinsics: np.ndarray
    world_to_cam: np.ndarray
    depth: Callable[[], np.ndarray]
    confidence: Callable[[], np.ndarray | None] = _nothing
    image: Callable[[], np.ndarray | None] = _nothing

    def read_depth(self) -> Float[Tensor, "h w"]:
        """Depth, float32, 0 where unknown."""
        depth = torch.from_numpy(np.array(self.depth(), dtype=np.float32))
        if depth.ndim != 2:
            raise UserError(
                f"depth map of view {self.id}", f"has the shape {tuple(depth.shape)}, not (H, W)", "Write it anew"
            )
        return depth.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).clamp_(min=0)

    def read_confidence(self, size: tuple[int, int]) -> Float[Tensor, "h w"] | None:
        """Confidence, float32, checked against the depth map's (height, width); NaN counts as 0."""
        values = self.confidence()
        if values is None:
            return None
        self._check_size("confidence map", values, size)
        return torch.from_numpy(np.array(values, dtype=np.float32)).nan_to_num_(nan=0.0)

    def read_image(self, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
        """RGB, checked against the depth map's (height, width); mid-grey where the view has none."""
        image = self.image()
        if image is None:
            return np.full((*size, 3), 128, np.uint8)
        self._check_size("image", image, size)
        return np.ascontiguousarray(image)

    def _check_size(self, what: str, values: np.ndarray, size: tuple[int, int]) -> None:
        if values.shape[:2] != size:
            raise UserError(
                f"{what} of view {self.id}",
                f"is {values.shape[1]} x {values.shape[0]} where its depth map is {size[1]} x {size[0]}",
                "Resize it to the depth map's resolution",
            )


class ArrayCache:
    """Arrays of views by id, least recently used ones dropped beyond a number of bytes; for several threads."""

    def __init__(self, load: Callable[[int], Tensor], max_bytes: int = 256 * 2**20):
        self._load, self._max_bytes, self._held_bytes = load, max_bytes, 0
        self._arrays: OrderedDict[int, Tensor] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, view_id: int) -> Tensor:
        with self._lock:
            return self._get(view_id)

    def _get(self, view_id: int) -> Tensor:
        if view_id in self._arrays:
            self._arrays.move_to_end(view_id)
            return self._arrays[view_id]
        array = self._load(view_id)
        self._arrays[view_id] = array
        self._held_bytes += array.nbytes
        while self._held_bytes > self._max_bytes and len(self._arrays) > 1:
            self._held_bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array


def check_sources(
    views: Sequence[FusionView], sources: Mapping[int, Sequence[int]], num_sources: int, min_views: int
) -> dict[int, list[int]]:
    """For each view the ids of its first ``num_sources`` sources, without itself.

    Raises:
        UserError: no views, two views of one id, a source that is no view, or no view with ``min_views`` sources.
    """
    known = {view.id for view in views}
    if not views or len(known) < len(views):
        raise UserError("the views to fuse", "are none, or share an id", "Give each view of the scene once")
    chosen = {}
    for view in views:
        ids = [i for i in sources.get(view.id, []) if i != view.id]
        if missing := [i for i in ids if i not in known]:
            raise UserError(
                f"sources of view {view.id}",
                f"name views without a depth map: {missing}",
                "Name only views of the scene",
            )
        chosen[view.id] = ids[:num_sources]
    most = max(len(ids) for ids in chosen.values())
    if most < min_views:
        raise UserError(
            f"min_views={min_views}",
            f"cannot be reached: no view has more than {most} sources",
            "Give more source views, or lower min_views in the fusion recipe",
        )
    return chosen
