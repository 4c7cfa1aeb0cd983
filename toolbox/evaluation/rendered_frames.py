"""A mesh's depth in the frames of a scene: fused again, and compared with the frames' own depth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Float32, Num

from toolbox.errors import UserError
from toolbox.rendering import DepthRenderer
from toolbox.structures import View

from .depth_metrics import average_metrics, depth_error_sums

MeshArrays = tuple[Num[np.ndarray, "n 3"], Num[np.ndarray, "m 3"]]


@dataclass(frozen=True)
class RenderedFrame:
    """A mesh's depth in one view, on the grid of the view's depth map where it has one, else on its image's.

    Attributes:
        intrinsics: (3, 3), of that grid.
        world_to_cam: (4, 4), of the view.
        depth: in the world's unit, 0 where there is no surface.
        truth: the view's own depth, 0 where unknown; or None.
    """

    intrinsics: Num[np.ndarray, "3 3"]
    world_to_cam: Num[np.ndarray, "4 4"]
    depth: Float32[np.ndarray, "h w"]
    truth: Float32[np.ndarray, "h w"] | None = None


def rendered_frames(predicted: MeshArrays, views: Sequence[View], renderer: DepthRenderer) -> Iterator[RenderedFrame]:
    """A mesh (vertices, triangles; or nothing) seen by the views, one after the other.

    Raises:
        UserError: a view's depth map cannot be read.
    """
    if len(predicted[1]):
        renderer.load(predicted)
    for view in views:
        truth, intrinsics = view.stored_depth() or (None, view.intrinsics)
        size = view.size if truth is None else truth.shape
        depth = np.zeros(size, np.float32)
        if len(predicted[1]):
            depth = renderer.render(intrinsics, view.world_to_cam, size)
        yield RenderedFrame(intrinsics, view.world_to_cam, depth, truth)


class DepthFusion:
    """Depth maps averaged in Open3D's scalable TSDF volume: memory follows the surface.

    Args:
        voxel_size, truncation, max_depth: in metres.

    Raises:
        UserError: the installed Open3D does not find surfaces.
    """

    def __init__(self, voxel_size: float, truncation: float, max_depth: float):
        import open3d as o3d

        _check_open3d(o3d)
        self._o3d, self._max_depth = o3d, max_depth
        integration = o3d.pipelines.integration
        self._volume = integration.ScalableTSDFVolume(voxel_size, truncation, integration.TSDFVolumeColorType.NoColor)

    def integrate(
        self,
        depth: Float32[np.ndarray, "h w"],
        intrinsics: Num[np.ndarray, "3 3"],
        world_to_cam: Num[np.ndarray, "4 4"],
    ) -> None:
        """Average one depth map in; 0 is unknown."""
        (fx, _, cx), (_, fy, cy), _ = intrinsics
        height, width = depth.shape
        image = self._o3d.geometry.RGBDImage.create_from_color_and_depth(
            self._o3d.geometry.Image(np.zeros((height, width, 3), np.uint8)),
            self._o3d.geometry.Image(np.ascontiguousarray(depth)),
            depth_scale=1.0,
            depth_trunc=self._max_depth,
            convert_rgb_to_intensity=False,
        )
        camera = self._o3d.camera.PinholeCameraIntrinsic(width, height, fx, fy, cx, cy)
        self._volume.integrate(image, camera, world_to_cam)

    def mesh(self) -> MeshArrays:
        """Vertices and triangles of the surface so far; there may be none."""
        mesh = self._volume.extract_triangle_mesh()
        return np.asarray(mesh.vertices), np.asarray(mesh.triangles)


def _check_open3d(o3d: ModuleType) -> None:
    """Its volume makes room where a depth map's points lie, with a scale of 1000; version 0.20 divides metres by it."""
    depth = o3d.geometry.Image(np.ones((2, 2), np.float32))
    camera = o3d.camera.PinholeCameraIntrinsic(2, 2, 1, 1, 0, 0)
    cloud = o3d.geometry.PointCloud.create_from_depth_image(depth, camera, np.eye(4), 1000.0, 1000.0, 1)
    if not np.allclose(np.asarray(cloud.points)[:, 2], 1):
        raise UserError(
            f"Open3D {o3d.__version__}",
            "its ScalableTSDFVolume takes the metres of depth maps for millimetres, and finds no surface",
            "Use Open3D 0.19, which needs Python 3.12 or older",
        )


class DepthComparison:
    """Rendered depth against the views' own, view by view.

    Names and definitions are those of ``toolbox.evaluation.depth_metrics``, and ``complete``: the share of all pixels
    that have a predicted depth.

    Args:
        max_truth: ground truth beyond it does not count, in metres.
    """

    def __init__(self, max_truth: float):
        self._max_truth = max_truth
        self._sums: list[dict[str, float]] = []
        self._complete: list[float] = []

    def __len__(self) -> int:
        """Views compared so far."""
        return len(self._sums)

    def add(self, frame: RenderedFrame) -> None:
        """Compare a frame; one without depth of its own is left out."""
        if frame.truth is not None:
            predicted, truth = torch.from_numpy(frame.depth), torch.from_numpy(frame.truth)
            sums, complete = rendered_image_sums(predicted, truth, self._max_truth)
            self._sums.append(sums)
            self._complete.append(complete)

    def metrics(self) -> dict[str, float]:
        """Means over the views.

        Raises:
            ValueError: there were none.
        """
        return average_metrics(self._sums) | {"complete": float(np.mean(self._complete))}


def rendered_image_sums(
    predicted: Float[torch.Tensor, "h w"], truth: Float[torch.Tensor, "h w"], max_truth: float = 10.0
) -> tuple[dict[str, float], float]:
    """One image's sums for ``average_metrics``, and the share of its pixels with a predicted depth."""
    return depth_error_sums(predicted, truth, max_depth=max_truth), float((predicted > 0).double().mean())
