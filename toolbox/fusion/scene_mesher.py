"""What a volumetric network says of a scene's fragments, one after the other -> the scene's mesh so far."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.errors import UserError
from toolbox.structures import VoxelMap

from .mesh import TriangleMesh
from .scene_volume import SceneVolume
from .sparse_surface import extract_sparse_surface
from .tsdf_volume import no_surface

_SAME_FRAME = 1e-4  # of rotations; metres


class SceneMesher:
    """A scene's volume by substitution, and its mesh whenever it is asked for.

    Args:
        threshold, published_forgetting: see ``SceneVolume``.
        published_closing: take voxels that no fragment predicted for empty space, which closes every surface a second
            time behind its known voxels, as the published programs do. Otherwise there is surface only between eight
            known voxels: a single layer.
    """

    def __init__(self, threshold: float = 1.0, published_forgetting: bool = False, published_closing: bool = False):
        self.threshold, self.published_forgetting = threshold, published_forgetting
        self.published_closing = published_closing
        self._volume: SceneVolume | None = None
        self._to_scene: Float[Tensor, "4 4"] = torch.eye(4)

    def __len__(self) -> int:
        """Voxels known so far."""
        return 0 if self._volume is None else len(self._volume)

    def add(self, sample: Mapping[str, Any]) -> None:
        """Take in a fragment.

        Args:
            sample: of a volumetric network's ``predict`` mode: coords (N, 3), tsdf (N,), origin (3,), window,
                voxel_size, volume_to_scene (4, 4) or None.

        Raises:
            UserError: its frame of the volumes is not that of the fragments before.
        """
        to_scene = torch.eye(4) if sample["volume_to_scene"] is None else sample["volume_to_scene"].float().cpu()
        if self._volume is None:
            self._volume = SceneVolume(sample["voxel_size"], self.threshold, self.published_forgetting)
            self._to_scene = to_scene
        elif (to_scene - self._to_scene).abs().max() > _SAME_FRAME:
            raise UserError(
                "the fragments of a scene",
                "are placed differently, so that they make no mesh",
                "Leave out the data set's placement, or use SceneOrderSampler, which places a scene's fragments alike",
            )
        self._volume.substitute(
            sample["coords"], sample["tsdf"].float(), sample["origin"], tuple(int(n) for n in sample["window"])
        )

    def state(self) -> dict[str, Any]:
        """All that it took in, as tensors, for a file; empty before the first fragment."""
        volume = self._volume
        if volume is None or volume.voxels is None:
            return {}
        return {
            "voxel_size": volume.voxel_size,
            "origin": volume.origin,
            "coords": volume.voxels.coords,
            "tsdf": volume.voxels.feats,
            "to_scene": self._to_scene,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        self._volume = None
        if state:
            self._to_scene = state["to_scene"]
            self._volume = SceneVolume(state["voxel_size"], self.threshold, self.published_forgetting)
            self._volume.origin, self._volume.voxels = state["origin"], VoxelMap(state["coords"], state["tsdf"])

    def mesh(self) -> TriangleMesh:
        """The mesh so far in the scene's own world, in metres; without triangles where there is no surface."""
        volume = self._volume
        if volume is None or volume.voxels is None or volume.origin is None:
            return no_surface()
        seen_only = not self.published_closing
        surface = extract_sparse_surface(volume.voxels, volume.voxel_size, volume.origin, seen_only)
        rotation, offset = self._to_scene[:3, :3].double().numpy(), self._to_scene[:3, 3].double().numpy()
        moved = surface.vertices.astype("float64") @ rotation.T + offset
        return TriangleMesh(moved.astype("float32"), surface.triangles, surface.rgb)
