"""Pseudo depth for training: the surface that a network's own depth maps make, seen from the training views."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from tqdm import tqdm

from toolbox.datasets import working_size
from toolbox.datasets.depth_ranges import depth_range_for
from toolbox.datasets.loading import working_intrinsics
from toolbox.errors import UserError
from toolbox.fusion import FusionRecipe, poisson_mesh, read_cloud, write_mesh
from toolbox.geometry import resample_depth
from toolbox.io import CamFile, read_cam_txt, read_pfm, write_cam_txt, write_pfm
from toolbox.registry import RENDERERS
from toolbox.rendering import DepthRenderer
from toolbox.structures import Scene, View

from .depth_inference import DepthFiles
from .stages import Manifest, describe_scene, fingerprint

SOURCES = ("mesh", "consistency", "both")


@dataclass(frozen=True)
class LabelSettings:
    """What pseudo labels are taken from.

    Attributes:
        source: 'mesh' renders the fused surface; 'consistency' takes the depth that passed the filters of the fusion;
            'both' takes that where there is some, and the surface elsewhere (the mesh fills, consistency decides).
        fill: where a label would be empty, the screened Poisson surface of the fused cloud is rendered, made with these
            settings of a ``FusionRecipe`` (poisson_depth, trim_distance ...): flat between what was seen.
        size: (height, width) of the training images; or None, and
        max_size: their longer side; None keeps the stored size.
        depth_range: (near, far) of all views, in the scene's unit; None takes each view's. No label lies beyond far.
        renderer: from RENDERERS.
    """

    source: str = "mesh"
    fill: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    max_size: int | None = None
    depth_range: tuple[float, float] | None = None
    renderer: dict[str, Any] = field(default_factory=lambda: {"type": "RaycastRenderer"})

    def __post_init__(self):
        if self.source not in SOURCES:
            raise UserError(
                f"labels.source='{self.source}'", "is none", "Choose 'mesh', 'consistency' or 'both' in the config"
            )


@dataclass(frozen=True)
class LabelFiles:
    """Where the pseudo label of a view lies, as ``PseudoLabelledScenes`` looks for it."""

    folder: Path
    view_id: int

    @property
    def depth(self) -> Path:
        """PFM, in the scene's unit, 0 where there is no label."""
        return self.folder / "labels" / f"{self.view_id:08d}.pfm"

    @property
    def camera(self) -> Path:
        """The camera of its grid."""
        return self.folder / "labels" / f"{self.view_id:08d}_cam.txt"


def label_scene(training_scene: Scene, out: Path, settings: LabelSettings, quiet: bool = False) -> dict[str, Any]:
    """Write the pseudo label of every view of a scene, from the reconstruction that lies under ``out``.

    The training scene's views may be crops and reductions of the views that were reconstructed, and more of them; their
    ids and the world are the same.

    Args:
        training_scene: the views that are to be trained on.
        out: with ``mesh.ply`` and ``filtered/``, as ``reconstruct_scene_files`` writes them; the labels go to
            ``labels/``.

    Returns:
        Facts: views, share of pixels with a label.

    Raises:
        UserError: a view has no depth range, or the mesh cannot be rendered.
    """
    manifest = Manifest(out)
    size = settings.size or working_size(training_scene, settings.max_size)
    files = [LabelFiles(out, view.id) for view in training_scene.views]
    made_from = fingerprint(
        [
            manifest.made_from("cloud"),
            manifest.made_from("mesh"),
            describe_scene(training_scene),
            size,
            asdict(settings),
        ]
    )
    outputs = [path for label in files for path in (label.camera, label.depth)]
    if settings.fill is not None:
        _fill_surface(out, FusionRecipe.from_dict(settings.fill), manifest)
    if not manifest.begin("labels", made_from, outputs):
        maker = _LabelMaker(out, settings)
        known = []
        for view, label in zip(
            tqdm(training_scene.views, desc="labels", unit="view", disable=quiet, dynamic_ncols=True),
            files,
            strict=True,
        ):
            near, far = depth_range_for(training_scene, view.id, settings.depth_range)
            if not label.depth.exists():
                intrinsics = working_intrinsics(view, size)
                write_cam_txt(label.camera, CamFile(view.world_to_cam, intrinsics.numpy(), near))
                write_pfm(label.depth, maker.label(view, intrinsics, size, far))
            known.append(float((read_pfm(label.depth) > 0).mean()))
        manifest.finish("labels", views=len(files), size=list(size), coverage=float(np.mean(known)))
    return manifest.facts("labels")


def _fill_surface(out: Path, recipe: FusionRecipe, manifest: Manifest) -> None:
    """Stage 'fill': ``fill.ply``, the Poisson surface of the cloud."""
    made_from = fingerprint([manifest.made_from("cloud"), recipe.to_dict()])
    if not manifest.begin("fill", made_from, [out / "fill.ply"]):
        cloud = read_cloud(out / "cloud.ply", manifest.facts("cloud")["spacing"])
        write_mesh(out / "fill.ply", poisson_mesh(cloud, recipe), recipe)
        manifest.finish("fill")


class _LabelMaker:
    """Labels from what the settings name, the first that has a depth at a pixel."""

    def __init__(self, out: Path, settings: LabelSettings):
        self.out, self.consistency = out, settings.source != "mesh"
        meshes = [] if settings.source == "consistency" else [out / "mesh.ply"]
        meshes += [] if settings.fill is None else [out / "fill.ply"]
        self.renderers: list[DepthRenderer] = []
        for mesh in meshes:
            self.renderers.append(RENDERERS.build(dict(settings.renderer)))
            self.renderers[-1].load(mesh)

    def label(
        self, view: View, intrinsics: Float[Tensor, "3 3"], size: tuple[int, int], far: float
    ) -> Float32[np.ndarray, "h w"]:
        label = np.zeros(size, np.float32)
        if self.consistency:
            label = self._consistent(view, intrinsics, size)
            label[label > far] = 0
        for renderer in self.renderers:
            rendered = renderer.render(intrinsics.numpy(), view.world_to_cam, size, far)
            label = np.where(label > 0, label, rendered)
        return label

    def _consistent(
        self, view: View, intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]
    ) -> Float32[np.ndarray, "h w"]:
        """The filtered depth map on the label's grid; nothing where the view was not reconstructed."""
        path = self.out / "filtered" / f"{view.id:08d}.pfm"
        if not path.exists():
            return np.zeros(size, np.float32)
        grid = torch.from_numpy(read_cam_txt(DepthFiles(self.out, view.id).camera).intrinsics)[None]
        depth = torch.from_numpy(read_pfm(path))[None]
        return resample_depth(depth, grid.double(), intrinsics[None], size)[0].numpy()
