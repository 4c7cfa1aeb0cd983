"""One scene's mesh against the scene's truth, by the protocols that are asked for: a row of the table.

Numbers are named ``<protocol>/<metric>``, so that those of two protocols cannot be taken for each other; the metrics
are those of ``toolbox.evaluation.meshes``. Protocols: ``neuralrecon`` and ``transformerfusion`` as in
``toolbox.evaluation.mesh_protocols``, and ``direct``, which compares the mesh's vertices as they are. The mesh's depth
in the frames is measured as ``depth/<metric>``, with the metrics of ``toolbox.evaluation.depth_metrics``.

The truth is the scene's mesh where it has one. Else the frames' depth is fused, and the row says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Num

from toolbox.errors import UserError
from toolbox.fusion import TSDFIntegrator
from toolbox.registry import RENDERERS
from toolbox.rendering import read_mesh
from toolbox.structures import Scene, View

from .clouds import finite_points, read_points
from .mesh_protocols import (
    NeuralReconRecipe,
    SingleLayerReference,
    TransformerFusionRecipe,
    read_single_layer_reference,
    transformer_fusion_protocol,
)
from .meshes import mesh_metrics
from .rendered_frames import DepthComparison, DepthFusion, MeshArrays, rendered_frames

PROTOCOLS = ("neuralrecon", "transformerfusion", "direct")
_MARGIN = 0.2  # metres around the truth that the mask of occluded voxels covers


@dataclass(frozen=True)
class FusedTruth:
    """How the truth is made of the frames' depth, for scenes without a mesh; in metres.

    Attributes:
        voxel_size, truncation, max_depth: of the fusion.
        mask_voxel: of the mask of voxels that no frame saw, where TransformerFusion's protocol has no published one.
    """

    voxel_size: float = 0.02
    truncation: float = 0.08
    max_depth: float = 3.0
    mask_voxel: float = 0.04


@dataclass(frozen=True)
class MeshMeasures:
    """What is measured, and how.

    Attributes:
        protocols: of ``PROTOCOLS``.
        depth: compare the mesh's depth with the frames' own, where they have some.
        every: use every n-th frame of the scene: to render, and to fuse the truth where there is no mesh.
        references: folder with TransformerFusion's published ground truth, a folder for each scene; None makes the
            reference of the scene's mesh and depth.
        neural_recon, transformer_fusion, fused_truth: the recipes.
        renderer: from RENDERERS.
    """

    protocols: tuple[str, ...] = ("neuralrecon",)
    depth: bool = True
    every: int = 1
    references: Path | None = None
    neural_recon: NeuralReconRecipe = field(default_factory=NeuralReconRecipe)
    transformer_fusion: TransformerFusionRecipe = field(default_factory=TransformerFusionRecipe)
    fused_truth: FusedTruth = field(default_factory=FusedTruth)
    renderer: Mapping[str, Any] = field(default_factory=lambda: {"type": "RaycastRenderer"})

    def __post_init__(self):
        if unknown := set(self.protocols) - set(PROTOCOLS):
            raise UserError(
                f"protocols {sorted(unknown)}", "are none for meshes", f"Choose from {', '.join(PROTOCOLS)}"
            )
        if self.every < 1:
            raise UserError(f"every={self.every}", "is no number of frames", "Give 1 or more")


@dataclass(frozen=True)
class MeshJob:
    """A mesh to measure.

    Attributes:
        scene: what it is of, in metres, with all frames that count.
        mesh: vertices and triangles in the scene's world, or a file of them.
        measures: what to measure.
        about: goes into the row as it is.
    """

    scene: Scene
    mesh: MeshArrays | Path
    measures: MeshMeasures = field(default_factory=MeshMeasures)
    about: dict[str, Any] = field(default_factory=dict)


def measure_mesh(job: MeshJob) -> dict[str, Any]:
    """The row of one scene: what it was measured against, and the numbers.

    Raises:
        UserError: there is nothing to measure against, or a file cannot be read.
    """
    measures, scene = job.measures, job.scene
    check_measurable(scene, measures)
    predicted = read_mesh(job.mesh) if isinstance(job.mesh, Path) else job.mesh
    views = scene.views[:: measures.every]
    published = "transformerfusion" in measures.protocols and measures.references is not None
    truth, source = None, f"reference of {measures.references}"
    if not published or len(measures.protocols) > 1:
        truth, source = true_points(scene, views, measures.fused_truth)
    row = {"scene": scene.name, **job.about, "vertices": len(predicted[0]), "triangles": len(predicted[1])}
    row |= {"frames": len(views), "truth": source}
    row |= _by_rendering(predicted, views, truth, measures)
    if "direct" in measures.protocols:
        recipe = measures.neural_recon
        row |= _named("direct", mesh_metrics(predicted[0], truth, recipe.threshold, recipe.down_sample))
    if "transformerfusion" in measures.protocols:
        if published:
            reference = read_single_layer_reference(measures.references / scene.name)
        else:
            reference = single_layer_reference(truth, views, measures.fused_truth)
        row |= _named(
            "transformerfusion", transformer_fusion_protocol(predicted, reference, measures.transformer_fusion)
        )
    return row


def check_measurable(scene: Scene, measures: MeshMeasures) -> None:
    """Raise UserError where the scene lacks what the measures need."""
    where, unknown = (
        f"scene '{scene.name}'",
        "Name a scene with a mesh or depth (for ScanNet: *_vh_clean_2.ply, depth/)",
    )
    if scene.unit not in ("m", "unknown"):
        raise UserError(where, f"is measured in {scene.unit}; meshes are compared in metres", "Import it in metres")
    has_depth = any(view.depth_path is not None for view in scene.views[:: measures.every])
    published = measures.references is not None
    own = [name for name in measures.protocols if name != "transformerfusion" or not published]
    if own and scene.mesh_path is None and not has_depth:
        raise UserError(where, "has neither a mesh nor depth to measure a reconstruction against", unknown)
    if "transformerfusion" in own and not has_depth:
        raise UserError(
            where, "has no depth that tells what its sensor saw, which TransformerFusion's protocol asks", unknown
        )


def true_points(scene: Scene, views: Sequence[View], fused: FusedTruth) -> tuple[Num[np.ndarray, "n 3"], str]:
    """Points of the true surface, and where they are from: the scene's mesh, or its depth.

    Raises:
        UserError: a file cannot be read, or the depth shows no surface.
    """
    if scene.mesh_path is not None:
        return read_points(scene.mesh_path), f"mesh {scene.mesh_path.name}"
    fusion = DepthFusion(fused.voxel_size, fused.truncation, fused.max_depth)
    known = [view for view in views if view.depth_path is not None]
    for view in known:
        depth, intrinsics = view.stored_depth()
        fusion.integrate(depth, intrinsics, view.world_to_cam)
    points = fusion.mesh()[0]
    if not len(points):
        raise UserError(
            f"scene '{scene.name}'",
            f"shows no surface within {fused.max_depth:g} m in {len(known)} depth maps",
            "Check the depth maps' scale, or raise fused_truth.max_depth",
        )
    return points, f"TSDF of {len(known)} depth maps"


def single_layer_reference(
    truth: Num[np.ndarray, "n 3"], views: Sequence[View], fused: FusedTruth
) -> SingleLayerReference:
    """A reference for TransformerFusion's protocol where none is published.

    Occluded is a voxel that no depth map shows in front of its surface or less than three voxels behind it.

    Raises:
        UserError: a depth map cannot be read.
    """
    points = finite_points(np.asarray(truth, np.float64))
    low = np.floor((points.min(axis=0) - _MARGIN) / fused.mask_voxel) * fused.mask_voxel
    counts = np.ceil((points.max(axis=0) + _MARGIN - low) / fused.mask_voxel).astype(int) + 1
    integrator = TSDFIntegrator(torch.from_numpy(low), tuple(counts.tolist()), fused.mask_voxel)
    for view in views:
        if view.depth_path is not None:
            depth, intrinsics = view.stored_depth()
            integrator.integrate(
                torch.from_numpy(depth), torch.from_numpy(intrinsics), torch.from_numpy(view.world_to_cam)
            )
    occluded = (integrator.volume().weight == 0).numpy()
    world_to_grid = np.diag([1 / fused.mask_voxel] * 3 + [1.0])
    world_to_grid[:3, 3] = -low / fused.mask_voxel
    return SingleLayerReference(points, occluded, world_to_grid)


def _by_rendering(
    predicted: MeshArrays, views: Sequence[View], truth: np.ndarray | None, measures: MeshMeasures
) -> dict[str, Any]:
    """Depth metrics and NeuralRecon's protocol: every frame is rendered once, for both."""
    refused = "neuralrecon" in measures.protocols
    compared = measures.depth and any(view.depth_path is not None for view in views)
    if not refused and not compared:
        return {}
    recipe = measures.neural_recon
    fusion, comparison = recipe.fusion(), DepthComparison(recipe.max_truth)
    for frame in rendered_frames(predicted, views, RENDERERS.build(dict(measures.renderer))):
        if refused:
            fusion.integrate(frame.depth, frame.intrinsics, frame.world_to_cam)
        if compared:
            comparison.add(frame)
    row: dict[str, Any] = {"frames_with_depth": len(comparison)}
    if refused:
        row |= _named("neuralrecon", mesh_metrics(fusion.mesh()[0], truth, recipe.threshold, recipe.down_sample))
    return row | (_named("depth", comparison.metrics()) if compared else {})


def _named(protocol: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{protocol}/{name}": value for name, value in metrics.items()}
