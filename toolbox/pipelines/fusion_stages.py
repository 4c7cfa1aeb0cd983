"""The depth maps of a scene -> filtered depth maps and cloud -> mesh: two resumable stages."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolbox.datasets import load_view
from toolbox.fusion import (
    FusionRecipe,
    FusionView,
    estimate_normals,
    fuse_by_consistency,
    fuse_by_disparity,
    integrate_filtered,
    poisson_mesh,
    read_cloud,
    write_cloud,
    write_mesh,
)
from toolbox.io import read_cam_txt, read_pfm, write_pfm
from toolbox.structures import Scene

from .depth_inference import DepthFiles
from .stages import Manifest, fingerprint

Progress = Callable[[int, int], None]


def fuse_scene(
    scene: Scene,
    out: Path,
    size: tuple[int, int],
    sources: dict[int, list[int]],
    recipe: FusionRecipe,
    made_from: str,
    manifest: Manifest,
    progress: Progress,
    keep_filtered: bool = False,
) -> dict[str, Any]:
    """Stages 'cloud' and 'mesh': ``cloud.ply`` and ``mesh.ply`` from the depth maps that lie under ``out``.

    Args:
        size: (height, width) of the depth maps.
        sources: for each reference's id the ids of its sources, best first.
        made_from: fingerprint of the depth maps.
        progress: called with (views filtered, views in all).
        keep_filtered: write the depth that passed the filters as ``filtered/<id>.pfm``, too (0 where refused); the
            method 'tsdf' always does, and integrates these files.

    Returns:
        Facts: recipe, counts, seconds.

    Raises:
        UserError: the filters leave nothing to fuse, or trimming leaves nothing of the surface.
    """
    # Fusion compares only views that have a depth map.
    inside = {i: [s for s in ids if s in sources] for i, ids in sources.items()}
    views = [_fusion_view(scene, out, view_id, size) for view_id in sources]

    keep_filtered = keep_filtered or recipe.method == "tsdf"
    filtered = {i: out / "filtered" / f"{i:08d}.pfm" for i in sources} if keep_filtered else {}
    of_cloud = fingerprint([made_from, sources, recipe.cloud_settings(), keep_filtered])
    if not manifest.begin("cloud", of_cloud, [*filtered.values(), out / "cloud.ply"]):
        started = time.perf_counter()

        def save(view_id: int, depth: np.ndarray) -> None:
            write_pfm(filtered[view_id], depth)

        fuse = fuse_by_disparity if recipe.method == "disparity" else fuse_by_consistency
        cloud, counts = fuse(views, inside, recipe, progress, save if keep_filtered else None)
        cloud = estimate_normals(cloud, {view.id: view.centre for view in scene.views}, recipe)
        write_cloud(out / "cloud.ply", cloud, recipe)
        pixels = {
            name: sum(getattr(c, name) for c in counts) for name in ("pixels", "known", "confident", "consistent")
        }
        seconds = time.perf_counter() - started
        manifest.finish("cloud", points=len(cloud), spacing=cloud.spacing, pixels=pixels, seconds=seconds)
    facts = manifest.facts("cloud")

    if not manifest.begin("mesh", fingerprint([of_cloud, recipe.to_dict()]), [out / "mesh.ply"]):
        started = time.perf_counter()
        if recipe.method == "tsdf":
            mesh = integrate_filtered(((view, read_pfm(filtered[view.id])) for view in views), views, recipe)
        else:
            mesh = poisson_mesh(read_cloud(out / "cloud.ply", facts["spacing"]), recipe)
        write_mesh(out / "mesh.ply", mesh, recipe)
        seconds = time.perf_counter() - started
        manifest.finish("mesh", vertices=len(mesh.vertices), triangles=len(mesh.triangles), seconds=seconds)
    of_surface = manifest.facts("mesh")
    seconds = facts["seconds"] + of_surface["seconds"]
    return {"recipe": recipe.describe(), **facts, **of_surface, "seconds": seconds}


def _fusion_view(scene: Scene, out: Path, view_id: int, size: tuple[int, int]) -> FusionView:
    files = DepthFiles(out, view_id)
    camera = read_cam_txt(files.camera)
    return FusionView(
        view_id,
        camera.intrinsics,
        camera.world_to_cam,
        depth=lambda: read_pfm(files.depth),
        confidence=lambda: read_pfm(files.confidence),
        image=lambda: np.ascontiguousarray(load_view(scene.view(view_id), size).image.numpy().transpose(1, 2, 0)),
    )
