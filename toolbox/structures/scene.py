"""Scenes and views: what every importer returns, and what every data set and pipeline starts from."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from toolbox.errors import UserError
from toolbox.geometry import resample_depth
from toolbox.io import read_depth_png, read_image, read_pfm


@dataclass(frozen=True)
class View:
    """One posed image.

    Attributes:
        id: unique in its scene; pair lists and file names use it.
        image_path: RGB image, read when asked for.
        size: (height, width) of the image in pixels.
        intrinsics: (3, 3) float64, of the stored image; pixel centres are integers.
        world_to_cam: (4, 4) float64, rigid; OpenCV axes; world is the scene's.
        depth_path: depth map of this camera (PFM, or 16-bit PNG), or None.
        depth_scale: factor from stored depth values to the scene's unit.
        depth_range: (near, far) in the scene's unit, or None where the source does not tell.
        name: what the source calls it.
        depth_intrinsics: (3, 3) of the stored depth map where its grid is not the image's; or None.
    """

    id: int
    image_path: Path
    size: tuple[int, int]
    intrinsics: np.ndarray
    world_to_cam: np.ndarray
    depth_path: Path | None = None
    depth_scale: float = 1.0
    depth_range: tuple[float, float] | None = None
    name: str = ""
    depth_intrinsics: np.ndarray | None = None

    def image(self) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        return read_image(self.image_path)

    def depth(self) -> np.ndarray | None:
        """Depth on the image's grid in the scene's unit, float32 (H, W), 0 where unknown; None where there is none.

        A depth map stored at another resolution is sampled at the nearest pixel: nothing is interpolated.

        Raises:
            UserError: the depth map cannot be read, or has another size than the image and no intrinsics of its own.
        """
        stored = self.stored_depth()
        if stored is None:
            return None
        depth, intrinsics = stored
        if self.depth_intrinsics is None:
            return depth
        sampled = resample_depth(
            torch.from_numpy(depth)[None],
            torch.from_numpy(intrinsics)[None].float(),
            torch.from_numpy(self.intrinsics)[None].float(),
            self.size,
        )
        return sampled[0].numpy()

    def stored_depth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Depth as stored, in the scene's unit, 0 where unknown, and the (3, 3) intrinsics of its grid.

        A 16-bit image says unknown by 0 or 65535.

        Raises:
            UserError: the depth map cannot be read, or has another size than the image and no intrinsics of its own.
        """
        if self.depth_path is None:
            return None
        if self.depth_path.suffix == ".pfm":
            depth = read_pfm(self.depth_path) * np.float32(self.depth_scale)
            depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
        else:
            raw = read_depth_png(self.depth_path)
            depth = np.where(raw == 65535, np.float32(0), raw * np.float32(self.depth_scale))
        if self.depth_intrinsics is not None:
            return depth, self.depth_intrinsics
        if depth.shape != self.size:
            raise UserError(
                self.depth_path,
                f"is {depth.shape[1]} x {depth.shape[0]} where its image is {self.size[1]} x {self.size[0]}",
                "Give the depth map's own intrinsics, or store it at the image's resolution",
            )
        return depth, self.intrinsics

    @property
    def centre(self) -> np.ndarray:
        """(3,) position of the camera in the world."""
        return -self.world_to_cam[:3, :3].T @ self.world_to_cam[:3, 3]


@dataclass(frozen=True)
class SparsePoints:
    """Triangulated points of a structure-from-motion source.

    Attributes:
        xyz: (N, 3) float64, the scene's world.
        view_ids: for each point, the ids of the views that observed it.
    """

    xyz: np.ndarray
    view_ids: list[np.ndarray]

    def observed_by(self, view_id: int) -> np.ndarray:
        """(N,) bool: which points the view observed."""
        owners, ids = self._observations
        observed = np.zeros(len(self.xyz), dtype=bool)
        observed[owners[ids == view_id]] = True
        return observed

    @cached_property
    def _observations(self) -> tuple[np.ndarray, np.ndarray]:
        """All observations: number of the point, id of the view."""
        lengths = [len(ids) for ids in self.view_ids]
        ids = np.concatenate(self.view_ids) if self.view_ids else np.zeros(0, dtype=np.int64)
        return np.repeat(np.arange(len(lengths)), lengths), ids


@dataclass(frozen=True)
class LeftOut:
    """A frame that the source lists and the scene does not hold, and why."""

    name: str
    reason: str


@dataclass
class Scene:
    """A set of posed images in one world.

    Attributes:
        name: unique among the scenes of a data set.
        views: in the source's order.
        unit: 'm', 'mm' or 'unknown', of the world and of every depth.
        source_to_scene: (4, 4) similarity that took the source's world into this one.
        pairs: source views of each reference as the source lists them: id -> (id, score), best first; or None.
        points: sparse points, or None.
        mesh_path: ground-truth mesh in the scene's world, or None.
        left_out: frames left out, and why.
    """

    name: str
    views: list[View]
    unit: str = "unknown"
    source_to_scene: np.ndarray = field(default_factory=lambda: np.eye(4))
    pairs: dict[int, list[tuple[int, float]]] | None = None
    points: SparsePoints | None = None
    mesh_path: Path | None = None
    left_out: list[LeftOut] = field(default_factory=list)

    def view(self, view_id: int) -> View:
        """The view of that id.

        Raises:
            KeyError: there is none.
        """
        for view in self.views:
            if view.id == view_id:
                return view
        raise KeyError(f"scene '{self.name}' has no view {view_id}")
