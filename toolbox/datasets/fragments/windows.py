"""The window of voxels that a fragment reconstructs, and what a scene's volume holds in it."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolbox.errors import UserError
from toolbox.fusion import TSDFIntegrator, view_frustum

_INSIDE = 0.999  # |tsdf| below it is near a surface
_ON_BORDER = 1e-4  # voxels: rounding
_GRID = 8  # windows start at multiples of so many voxels: the coarsest level's cells of all fragments coincide


@dataclass(frozen=True)
class WindowSettings:
    """Where windows lie.

    Attributes:
        shape: voxels along x, y and z, of the finest level.
        voxel_size: of the finest level, in metres.
        max_depth: views see so far.
        below_floor: how far below z = 0 a window starts, before it is rounded down to the grid of 8 voxels.
        vertical: 'floor' starts every window near z = 0 (the published rule; the floor of the scene has to be there),
            'views' centres it on what the views see, as in x and y.
    """

    shape: tuple[int, int, int] = (96, 96, 96)
    voxel_size: float = 0.04
    max_depth: float = 3.0
    below_floor: float = 0.2
    vertical: str = "floor"

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.vertical not in ("floor", "views"):
            raise UserError(f"vertical='{self.vertical}'", "is no way to place windows", "Choose 'floor' or 'views'")


def window_origin(
    size: tuple[int, int],
    intrinsics: Float[Tensor, "v 3 3"],
    world_to_cam: Float[Tensor, "v 4 4"],
    settings: WindowSettings,
) -> Int[Tensor, "3"]:
    """First voxel of the window of some views, in voxels from the world's origin; a multiple of 8 along each axis
    whose half window is one.

    The middle of the box around the views' frustums, rounded to 8 voxels, minus half the window. Integers: whoever
    wants the offset of two windows subtracts them, and nothing has to be rounded again.

    Args:
        size: (height, width) of the images.
        world_to_cam: z of the world points up.
    """
    corners = view_frustum(size, intrinsics.double(), world_to_cam.double(), settings.max_depth).reshape(-1, 3)
    middle = (corners.amin(0) + corners.amax(0)) / 2 / settings.voxel_size
    start = (torch.round(middle / _GRID) * _GRID).long() - torch.tensor(settings.shape) // 2
    if settings.vertical == "floor":
        start[2] = math.floor(-settings.below_floor / settings.voxel_size / _GRID) * _GRID
    return start


def level_camera(world_to_cam: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
    """World to a camera at the same place that is turned, by the least rotation, until the world's z points up in its
    image (to -y): NeuralRecon's "aligned camera", in whose axes its sparse network sees a fragment.

    Raises:
        ValueError: the camera is upside down.
    """
    up, target = world_to_cam[:3, 2].double(), torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    axis, cosine = torch.linalg.cross(up, target), torch.dot(up, target)
    if cosine < -1 + 1e-9:
        raise ValueError("a camera that is upside down cannot be levelled: half a turn about any axis would do")
    cross = torch.zeros(3, 3, dtype=torch.float64)
    cross[0, 1], cross[0, 2], cross[1, 2] = -axis[2], axis[1], -axis[0]
    cross = cross - cross.T
    levelled = torch.eye(4, dtype=torch.float64)
    levelled[:3, :3] += cross + cross @ cross / (1 + cosine)
    return levelled @ world_to_cam.double()


def resample_tsdf(
    tsdf: Float[Tensor, "xs ys zs"],
    origin: Float[Tensor, "3"],
    voxel_size: float,
    window: Float[Tensor, "3"],
    shape: tuple[int, int, int],
    window_to_volume: Float[Tensor, "4 4"] | None = None,
    published_grid: bool = False,
) -> Float[Tensor, "x y z"]:
    """A volume on another grid of the same voxel size: trilinear near the surface, 1 outside of the volume.

    Where the nearest voxel is at 1 or -1 it is taken as it is: nothing is mixed across the border of what was seen.

    Args:
        origin: of the volume's voxel (0, 0, 0).
        window: of the result's voxel (0, 0, 0).
        shape: of the result.
        window_to_volume: rigid, from the result's world to the volume's; None: they are one.
        published_grid: sample as NeuralRecon does, from half a voxel below at the volume's start to half a voxel above
            at its end.
    """
    position = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij"), -1)
    position = position * voxel_size + window.double()
    if window_to_volume is not None:
        position = position @ window_to_volume[:3, :3].double().T + window_to_volume[:3, 3].double()
    index = (position - origin.double()) / voxel_size
    last = torch.tensor(tsdf.shape, dtype=torch.float64) - 1
    # grid_sample wants the last axis first.
    grid = (2 * index / last - 1).flip(-1)[None].to(tsdf.dtype)
    options = {"padding_mode": "zeros" if published_grid else "border", "align_corners": not published_grid}
    nearest, smooth = (
        F.grid_sample(tsdf[None, None], grid, mode=mode, **options)[0, 0] for mode in ("nearest", "bilinear")
    )
    values = torch.where(nearest.abs() < 1, smooth, nearest)
    outside = ((index < -_ON_BORDER) | (index > last + _ON_BORDER)).any(-1)
    return torch.where(outside, torch.ones_like(values), values)


def seen_surface(
    depth: Float[Tensor, "v h w"],
    intrinsics: Float[Tensor, "v 3 3"],
    world_to_cam: Float[Tensor, "v 4 4"],
    window: Float[Tensor, "3"],
    shape: tuple[int, int, int],
    voxel_size: float,
    max_depth: float = float("inf"),
) -> Bool[Tensor, "x y z"]:
    """Occupancy: voxels within the truncation distance of a surface that at least two of the views saw there.

    From the fragment's own depth maps, so that a network is not asked for what its views do not show.
    """
    integrator = TSDFIntegrator(window, shape, voxel_size, max_depth=max_depth)
    for one, camera, pose in zip(depth, intrinsics, world_to_cam, strict=True):
        integrator.integrate(one, camera, pose)
    volume = integrator.volume()
    return (volume.tsdf.abs() < _INSIDE) & (volume.weight > 1)
