"""The published losses' inputs and outputs; and a slanted plane seen by several cameras, voxels around it."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from toolbox.geometry import camera_centre, invert_rigid, pixel_grid
from toolbox.structures import FragmentBatch, SparseTSDF, VolumetricPrediction

NORMAL, DISTANCE = torch.tensor([0.15, -0.1, 1.0]).double(), 2.4
WAVES = torch.tensor([[5.0, 1.5], [-2.0, 4.5], [3.0, -3.5]]).double()
VOXEL = 0.04


@pytest.fixture(scope="session")
def golden_losses(shared) -> dict:
    return torch.load(shared / "golden/msr/losses.pt", weights_only=True)


def published_batch(fragment: dict, segments: dict | None = None) -> FragmentBatch:
    """A golden fragment as a batch."""
    images = fragment["imgs_small"].float().repeat_interleave(4, -1).repeat_interleave(4, -2)[None] / 255
    return FragmentBatch(
        images=images,
        intrinsics=fragment["intrinsics"],
        world_to_cam=invert_rigid(fragment["extrinsics"].double()).float(),
        origin=fragment["vol_origin_partial"],
        world_to_aligned_camera=fragment["world_to_aligned_camera"],
        tsdf=fragment["tsdf_list"],
        occupancy=[occupied.bool() for occupied in fragment["occ_list"]],
        segments=None if segments is None else [segments[str(2**s)][None].long() for s in range(3)],
    )


@dataclass
class PlaneFragment:
    """The plane n X = d with a smooth texture, seen by ``views`` cameras, and voxels within 10 cm of it."""

    size: tuple[int, int] = (48, 64)
    views: int = 4
    voxels: int = 400

    def __post_init__(self):
        height, width = self.size
        self.intrinsics = torch.tensor(
            [[1.1 * width, 0, width / 2 + 1.5], [0, 1.2 * width, height / 2 - 2.5], [0, 0, 1]]
        ).double()
        self.poses = torch.stack([_pose(0.05 * v, -0.12 * v, 0.03 * v) for v in range(self.views)])

    def images(self) -> Tensor:
        grid = pixel_grid(*self.size, like=self.intrinsics)
        rays = torch.cat((grid, torch.ones_like(grid[..., :1])), dim=-1) @ torch.linalg.inv(self.intrinsics).T
        shown = []
        for world_to_cam in self.poses:
            directions = rays @ world_to_cam[:3, :3]
            centre = camera_centre(world_to_cam)
            depth = (DISTANCE - NORMAL @ centre) / (directions @ NORMAL)
            shown.append(_texture(centre + depth[..., None] * directions))
        return torch.stack(shown)

    def positions(self) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        flat = (torch.rand(self.voxels, 2, generator=generator).double() - 0.5) * torch.tensor([1.0, 0.7]).double()
        height = (DISTANCE - flat @ NORMAL[:2]) / NORMAL[2]
        return torch.cat((flat, height[:, None]), dim=1)

    def problem(self, samples: int = 1, levels: int = 2) -> tuple[VolumetricPrediction, FragmentBatch]:
        """Voxels of the lattice next to the plane, their TSDF 0, at every level; the same in every sample."""

        def repeated(value: Tensor) -> Tensor:
            return value[None].repeat(samples, *([1] * value.dim()))

        origin = torch.tensor([-0.8, -0.6, 2.0]).double()
        volumes = []
        for level in range(levels):
            stride = 2**level
            cells = (((self.positions() - origin) / VOXEL / stride).round() * stride).unique(dim=0).int()
            coords = torch.cat([torch.cat((torch.full_like(cells[:, :1], b), cells), 1) for b in range(samples)])
            tsdf = torch.zeros(len(coords), dtype=torch.float64, requires_grad=True)
            volumes.append(SparseTSDF(coords, tsdf, VOXEL, repeated(origin), stride))
        batch = FragmentBatch(
            repeated(self.images()),
            repeated(self.intrinsics.expand(self.views, 3, 3)),
            repeated(self.poses),
            repeated(origin),
            repeated(self.poses[self.views // 2]),
        )
        return VolumetricPrediction(volumes, volumes[0]), batch


def _pose(yaw: float, x: float, y: float) -> Tensor:
    matrix = torch.eye(4).double()
    matrix[0, 0] = matrix[2, 2] = math.cos(yaw)
    matrix[0, 2], matrix[2, 0] = math.sin(yaw), -math.sin(yaw)
    matrix[:3, 3] = -matrix[:3, :3] @ torch.tensor([x, y, 0.0]).double()
    return matrix


def _texture(points: Tensor) -> Tensor:
    phases = points[..., :2] @ WAVES.T
    return (
        torch.stack((torch.sin(phases[..., 0] + 1), torch.sin(phases[..., 1]), torch.cos(phases[..., 2]))) * 0.4 + 0.5
    )


@pytest.fixture(scope="session")
def plane_fragment() -> PlaneFragment:
    return PlaneFragment()


@pytest.fixture(scope="session")
def published_fragments(shared):
    """Both golden fragments: the rows that the published network returns, the batch, and the published losses."""
    folder = shared / "golden/msr"
    outputs = torch.load(folder / "neucon_fusion_fresh.pt", weights_only=True)
    inputs = torch.load(folder / "neucon_fusion.pt", weights_only=True)
    segments = torch.load(folder / "neucon_fusion_segments.pt", weights_only=True)
    batches = [published_batch(inputs[f"frag{i}"], segments[f"frag{i}"]) for i in range(2)]

    def fragment(number: int, variant: str = "self") -> tuple[VolumetricPrediction, FragmentBatch, dict]:
        scales = outputs[variant]["eval"][number]["scales"]
        levels = [_published_level(scales[str(s)], batches[number], 2**s, number > 0) for s in range(3)]
        prediction = VolumetricPrediction(levels, levels[0], previous=batches[number - 1] if number else None)
        return prediction, batches[number], outputs[variant]["train_flag" if variant == "self" else "eval"][number]

    return fragment


def _published_level(scale: dict, batch: FragmentBatch, stride: int, with_previous: bool) -> SparseTSDF:
    return SparseTSDF(
        scale["coords"].int(),
        scale["tsdf"][:, 0],
        VOXEL,
        batch.origin,
        stride,
        occupancy=scale["occ_logits"][:, 0] if "occ_logits" in scale else None,
        supervised=scale["grid_mask"].reshape(-1).bool(),
        truth=scale["tsdf_target"].reshape(-1) if "tsdf_target" in scale else None,
        with_previous=with_previous,
    )
