"""What goes into a volumetric network and what comes out: fragments of videos, signed distances at sparse voxels."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor


@dataclass
class FragmentBatch:
    """A batch of fragments: some views of a scene each, and the window of voxels they reconstruct.

    The world is the frame of the volumes: z up, metres. Levels are finest first; voxels double from level to level.

    Attributes:
        images: RGB in [0, 1].
        intrinsics: of the images.
        world_to_cam: world to camera, OpenCV axes.
        origin: centre of the window's voxel (0, 0, 0) in the world, in metres, the same at every level.
        world_to_aligned_camera: world to the middle view's camera turned upright; the axes of the sparse network.
        volume_to_scene: world (the volumes' frame) to the scene's own world; or None.
        tsdf: truth at each level, in truncation distances, 1 where unknown; or None.
        occupancy: truth at each level, near a surface that the fragment's views saw; or None.
        depth: of the views, 0 where unknown; or None. For evaluation.
        segments: superpixels of the views at 1 / 2^level of their resolution, numbered from 0; or None.
        meta: per sample, scene, fragment, first (of its scene), last, view_ids, ...
    """

    images: Float[Tensor, "b v 3 h w"]
    intrinsics: Float[Tensor, "b v 3 3"]
    world_to_cam: Float[Tensor, "b v 4 4"]
    origin: Float[Tensor, "b 3"]
    world_to_aligned_camera: Float[Tensor, "b 4 4"]
    volume_to_scene: Float[Tensor, "b 4 4"] | None = None
    tsdf: list[Float[Tensor, "b _ _ _"]] | None = None
    occupancy: list[Bool[Tensor, "b _ _ _"]] | None = None
    depth: Float[Tensor, "b v h w"] | None = None
    segments: list[Int64[Tensor, "b v _ _"]] | None = None
    meta: list[dict[str, Any]] | None = None

    def to(self, device: torch.device | str) -> "FragmentBatch":
        """The same batch with its tensors on ``device``."""
        moved: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                moved[name] = value.to(device)
            elif name in ("tsdf", "occupancy", "segments") and value is not None:
                moved[name] = [volume.to(device) for volume in value]
        return replace(self, **moved)


@dataclass
class SparseTSDF:
    """Signed distances at some voxels of each sample's window.

    Attributes:
        coords: (batch, x, y, z) in voxels of the finest level from the sample's origin, whatever the level: multiples
            of ``stride``. Every voxel once, in any order.
        tsdf: as the network gives it: in truncation distances where it was taught so (positive in front of the
            surface), not clamped; a purely self-supervised network means metres.
        voxel_size: edge of the finest level's voxels, in metres.
        origin: centre of voxel (0, 0, 0) of each sample, in the world, in metres.
        stride: edge of this level's voxels, in voxels of the finest level.
        occupancy: logits; None without an occupancy head.
        num_views: how many views see each voxel's centre (previous and current ones where ``with_previous``); or None.
        supervised: where losses count: seen by at least two views, or held by a memory; None is everywhere.
        kept: which voxels were passed on to the next level, or are the result; None is all.
        truth: TSDF truth at the voxels, in truncation distances, 1 where unknown: of the fragment, and with a memory
            also of those before it; None where the batch has none.
        with_previous: there was a memory of earlier fragments at this level: losses across fragments belong here.
    """

    coords: Int32[Tensor, "n 4"]
    tsdf: Float[Tensor, " n"]
    voxel_size: float
    origin: Float[Tensor, "b 3"]
    stride: int = 1
    occupancy: Float[Tensor, " n"] | None = None
    num_views: Int64[Tensor, " n"] | None = None
    supervised: Bool[Tensor, " n"] | None = None
    kept: Bool[Tensor, " n"] | None = None
    truth: Float[Tensor, " n"] | None = None
    with_previous: bool = False

    def __len__(self) -> int:
        return self.coords.shape[0]

    def positions(self) -> Float[Tensor, "n 3"]:
        """Centres of the voxels in the world, in metres."""
        return voxel_positions(self.coords, self.voxel_size, self.origin)

    def select(self, rows: Bool[Tensor, " n"] | Int64[Tensor, " m"]) -> "SparseTSDF":
        """Some of the voxels."""
        per_voxel = ("coords", "tsdf", "occupancy", "num_views", "supervised", "kept", "truth")
        chosen = {name: None if (value := getattr(self, name)) is None else value[rows] for name in per_voxel}
        return replace(self, **chosen)

    def of_sample(self, sample: int) -> "SparseTSDF":
        """The voxels of one sample; its number stays in their coordinates."""
        return self.select(self.coords[:, 0] == sample)


@dataclass
class VolumetricPrediction:
    """What a coarse-to-fine network says about a batch of fragments; what losses take beside the ``FragmentBatch``.

    Attributes:
        levels: all voxels that each level looked at, finest first, with gradients; a level may have none.
        surface: the finest level's kept voxels: the result.
        previous: the fragments before, of the same scenes, where the network remembers them (``with_previous`` of a
            level says whether that level does); or None. Their views come before the batch's in pairs of views.
        image_features: of the batch's views as the encoder gives them, finest first, each (B, V, C, h, w), for heads
            that work in images; empty if the backbone has none.
        outputs: of further heads, by their names.
    """

    levels: list[SparseTSDF]
    surface: SparseTSDF
    previous: FragmentBatch | None = None
    image_features: list[Float[Tensor, "b v _ _ _"]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)


def voxel_positions(
    coords: Int32[Tensor, "n 4"], voxel_size: float, origin: Float[Tensor, "b 3"]
) -> Float[Tensor, "n 3"]:
    """Centres of voxels (batch, x, y, z) in the world, in metres; ``origin`` is each sample's voxel (0, 0, 0)."""
    return coords[:, 1:].to(origin.dtype) * voxel_size + origin[coords[:, 0].long()]
