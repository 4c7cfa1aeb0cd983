"""Depth maps -> the truncated signed distance volume by which volumetric networks are supervised and measured.

The published definition (Curless and Levoy 1996, as Atlas and NeuralRecon take it): a voxel takes the depth of the
pixel its centre falls on, halves to the even pixel; d = depth - z is its distance along the camera's axis; voxels with
d < -truncation stay as they are, the others average min(1, d / truncation) over the views. Unseen voxels are 1.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import invert_rigid, transform_points

from .mesh import TriangleMesh
from .sampling import sample_nearest

_BLOCK = 8  # voxels along an edge of a block
# Blocks worked on at a time: their arrays stay in a core's cache; a GPU wants many.
_BLOCKS_AT_ONCE = {"cpu": 63}
_BLOCKS_AT_ONCE_ELSEWHERE = 2048
_LARGEST_VOLUME = 2**29  # voxels: 4 GB


@dataclass(frozen=True)
class TSDFVolume:
    """A dense volume.

    Attributes:
        tsdf: in [-1, 1], in truncation distances, positive in front of the surface; 1 where unseen.
        weight: number of views that saw the voxel.
        origin: of the centre of voxel (0, 0, 0), in the world.
        voxel_size: in the world's unit.
    """

    tsdf: Float[Tensor, "x y z"]
    weight: Float[Tensor, "x y z"]
    origin: Float[Tensor, "3"]
    voxel_size: float


class TSDFIntegrator:
    """Averages depth maps into a volume, one after the other.

    A depth map touches only the blocks of voxels inside its frustum, up to its largest depth: its time follows what it
    sees, not the volume's size. Memory is two floats per voxel of the volume, and a bounded work space.

    Args:
        origin: of the centre of voxel (0, 0, 0), in the world.
        shape: voxels along x, y and z.
        voxel_size: in the world's unit.
        truncation_voxels: truncation distance in voxels.
        max_depth: larger depths count as unknown.
        device: where the volume lies.

    Raises:
        UserError: the shape is empty, or has more than 537 million voxels (4 GB).
    """

    def __init__(
        self,
        origin: Float[Tensor, "3"],
        shape: tuple[int, int, int],
        voxel_size: float,
        truncation_voxels: float = 3.0,
        max_depth: float = float("inf"),
        device: torch.device | str = "cpu",
    ):
        count = shape[0] * shape[1] * shape[2]
        if min(shape) < 1 or count > _LARGEST_VOLUME:
            raise UserError(
                "the TSDF volume",
                f"would have {shape[0]} x {shape[1]} x {shape[2]} voxels of {voxel_size:g}",
                "Check the scene's unit and poses, or choose a larger voxel",
            )
        self.origin, self.shape, self.voxel_size = origin.double().cpu(), shape, float(voxel_size)
        self.truncation, self.max_depth = truncation_voxels * self.voxel_size, max_depth
        self.device = torch.device(device)
        self._blocks = _cells([-(-n // _BLOCK) for n in shape], self.device) * _BLOCK  # first voxel of each block
        self._centres = self._blocks.float() + (_BLOCK - 1) / 2
        self._offsets = _cells([_BLOCK] * 3, self.device).T.float()  # of the voxels of a block
        self._total = torch.zeros(len(self._blocks), _BLOCK**3, device=self.device)  # of distances, over the views
        self._weight = torch.zeros_like(self._total)
        self._at_once = _BLOCKS_AT_ONCE.get(self.device.type, _BLOCKS_AT_ONCE_ELSEWHERE)
        self._space = torch.empty(4, self._at_once, _BLOCK**3, device=self.device)

    def integrate(
        self, depth: Float[Tensor, "h w"], intrinsics: Float[Tensor, "3 3"], world_to_cam: Float[Tensor, "4 4"]
    ) -> None:
        """Average one depth map in.

        Args:
            depth: z-depth in the world's unit; 0 or not finite where unknown.
            intrinsics, world_to_cam: of its camera, OpenCV axes, pixel centres integers.
        """
        depth, farthest = self._known(depth.to(self.device, torch.float32))
        if farthest <= 0:
            return
        intrinsics, voxel_to_cam = intrinsics.double().cpu(), self._voxel_to_cam(world_to_cam)
        visible = self._visible_blocks(voxel_to_cam, intrinsics, tuple(depth.shape), farthest + self.truncation)
        projection = (intrinsics @ voxel_to_cam[:3]).to(self.device)
        first = (self._blocks[visible].double() @ projection[:, :3].T + projection[:, 3]).float()
        step = projection[:, :3].float() @ self._offsets
        for rows, start in zip(visible.split(self._at_once), first.split(self._at_once), strict=True):
            self._integrate_blocks(rows, start, step, depth)

    def _known(self, depth: Float[Tensor, "h w"]) -> tuple[Float[Tensor, "h w"], float]:
        """The depth map with 0 where depth is unknown, and a bound for it."""
        farthest = float(depth.max())
        if not math.isfinite(farthest):  # NaN counts as the largest
            depth = depth.nan_to_num(nan=0.0, posinf=0.0)
            farthest = float(depth.max())
        if farthest > self.max_depth:
            depth = depth * torch.le(depth, self.max_depth, out=torch.empty_like(depth))
            farthest = self.max_depth
        return depth, farthest

    def volume(self) -> TSDFVolume:
        """The volume so far (a copy)."""
        tsdf = torch.where(self._weight > 0, self._total / self._weight, torch.ones_like(self._total))
        return TSDFVolume(self._dense(tsdf), self._dense(self._weight), self.origin.clone(), self.voxel_size)

    def _voxel_to_cam(self, world_to_cam: Tensor) -> Float[Tensor, "4 4"]:
        """From voxel indices to the camera's frame, in float64: a large world loses nothing."""
        voxel_to_world = torch.diag(torch.tensor([self.voxel_size] * 3 + [1.0], dtype=torch.float64))
        voxel_to_world[:3, 3] = self.origin
        return world_to_cam.double().cpu() @ voxel_to_world

    def _visible_blocks(
        self,
        voxel_to_cam: Float[Tensor, "4 4"],
        intrinsics: Float[Tensor, "3 3"],
        size: tuple[int, int],
        farthest: float,
    ) -> Int[Tensor, " m"]:
        """Rows of the blocks that reach beyond each of the frustum's sides."""
        forward = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
        inward = torch.cat((forward, -forward, _side_planes(intrinsics, size)))
        normals, offsets = inward @ voxel_to_cam[:3, :3], inward @ voxel_to_cam[:3, 3]
        offsets[1] += farthest
        # From a block's centre to its innermost voxel, and a little more for rounding.
        offsets += (_BLOCK - 1) / 2 * normals.abs().sum(dim=1) + 1e-3 * self.voxel_size
        inside = torch.addmm(offsets.to(self._centres), self._centres, normals.T.to(self._centres))
        return torch.nonzero(inside.amin(dim=1) > 0)[:, 0]

    def _integrate_blocks(
        self,
        rows: Int[Tensor, " m"],
        first: Float[Tensor, "m 3"],
        step: Float[Tensor, "3 k"],
        depth: Float[Tensor, "h w"],
    ) -> None:
        """Add the distances of the voxels of some blocks, whose (x z, y z, z) in the image are ``first`` + ``step``."""
        x, y, z, spare = self._space[:, : len(rows)]
        for axis, target in enumerate((x, y, z)):
            torch.add(first[:, axis, None], step[axis], out=target)
        divisor = torch.clamp_min(z, 1e-6, out=spare)
        distance = sample_nearest(depth, x.div_(divisor), y.div_(divisor))
        update = torch.gt(distance, 0, out=spare).mul_(torch.gt(z, 1e-6, out=x))
        distance.sub_(z)
        update.mul_(torch.ge(distance, -self.truncation, out=x))
        self._total.index_add_(0, rows, distance.div_(self.truncation).clamp_max_(1).mul_(update))
        self._weight.index_add_(0, rows, update)

    def _dense(self, blocked: Float[Tensor, "m k"]) -> Float[Tensor, "x y z"]:
        counts = [-(-n // _BLOCK) for n in self.shape]
        grid = blocked.reshape(*counts, _BLOCK, _BLOCK, _BLOCK).permute(0, 3, 1, 4, 2, 5)
        dense = grid.reshape(*(n * _BLOCK for n in counts))
        return dense[: self.shape[0], : self.shape[1], : self.shape[2]].contiguous()


def extract_surface(volume: TSDFVolume, seen_only: bool = True) -> TriangleMesh:
    """The surface where the TSDF crosses zero, by marching cubes (Lewiner et al. 2003); grey.

    Args:
        seen_only: only between eight voxels that were all seen. False takes the volume as it is, unseen voxels as 1,
            which closes surfaces along the border of what was seen.

    Returns:
        The mesh in the world; without triangles where nothing crosses zero.
    """
    from skimage.measure import marching_cubes

    tsdf = volume.tsdf.cpu().numpy()
    seen = (volume.weight > 0).cpu().numpy() if seen_only else None
    inside = (tsdf < 0) if seen is None else (tsdf < 0) & seen
    if min(tsdf.shape) < 2 or not inside.any() or not (tsdf > 0).any():
        return no_surface()
    try:
        vertices, triangles, _, _ = marching_cubes(tsdf, 0.0, mask=_whole_cells(seen))
    except RuntimeError:  # nothing crosses zero where the mask allows it
        return no_surface()
    vertices = vertices * volume.voxel_size + volume.origin.cpu().numpy()
    rgb = np.full(vertices.shape, 128, np.uint8)
    return TriangleMesh(vertices.astype(np.float32), triangles.astype(np.int32), rgb)


def _whole_cells(seen: np.ndarray | None) -> np.ndarray | None:
    """The mask for ``marching_cubes``, which asks the last of a cell's eight voxels: whether all of them were seen."""
    if seen is None:
        return None
    cells = seen[1:, 1:, 1:].copy()
    for x, y, z in itertools.product((slice(None, -1), slice(1, None)), repeat=3):
        cells &= seen[x, y, z]
    mask = np.zeros_like(seen)
    mask[1:, 1:, 1:] = cells
    return mask


def no_surface() -> TriangleMesh:
    """A mesh of nothing."""
    return TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 3), np.uint8))


def view_frustum(
    size: tuple[int, int], intrinsics: Float[Tensor, "*v 3 3"], world_to_cam: Float[Tensor, "*v 4 4"], far: float
) -> Float[Tensor, "*v 5 3"]:
    """The camera's centre and the image's four corners at z-depth ``far``, in the world.

    As published: the corners are at pixels 0 and width or height.
    """
    height, width = size
    corners = intrinsics.new_tensor([[0, 0], [0, height], [width, 0], [width, height]])
    rays = torch.cat((corners, corners.new_ones(4, 1)), 1) @ torch.linalg.inv(intrinsics).transpose(-1, -2)
    points = torch.cat((torch.zeros_like(rays[..., :1, :]), rays * far), dim=-2)
    return transform_points(invert_rigid(world_to_cam).to(points), points)


def _cells(counts: list[int], device: torch.device) -> Int[Tensor, "m 3"]:
    return torch.cartesian_prod(*(torch.arange(n, device=device) for n in counts)).reshape(-1, 3)


def _side_planes(intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]) -> Float[Tensor, "4 3"]:
    """Unit normals of the planes through the camera and the image's edges, pointing inwards (camera's frame)."""
    height, width = size
    left, top, right, bottom = -0.5, -0.5, width - 0.5, height - 0.5
    lines = intrinsics.new_tensor([[1, 0, -left], [-1, 0, right], [0, 1, -top], [0, -1, bottom]])
    planes = lines @ intrinsics
    return planes / planes.norm(dim=1, keepdim=True)
