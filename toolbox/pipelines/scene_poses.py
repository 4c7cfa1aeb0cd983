"""The poses of a scene, refined against the surface that was fused from them: one resumable stage."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from toolbox.datasets import load_view, working_size
from toolbox.datasets.scenes import write_poses
from toolbox.datasets.view_selection import ViewSelector
from toolbox.io import atomic_path, read_weights
from toolbox.models.reconstructors import PoseRefinementSettings, ScenePoseRefinement
from toolbox.rendering import RaycastRenderer
from toolbox.structures import Scene

from .stages import Manifest, describe_scene, fingerprint

# Pixels of the longer side: poses that are some pixels off at full size are near enough here to be found.
_MAX_SIZE = 160
_PARTNERS = 16
_STEPS_TO_SAVE = 10


def refine_poses(
    scene: Scene,
    reconstruction: Path,
    out: Path,
    settings: PoseRefinementSettings,
    depth_range: tuple[float, float] | None,
    device: torch.device,
    quiet: bool = False,
) -> dict[str, Any]:
    """Stage 'poses': write ``poses.json`` under ``out``, the poses of all views of a scene.

    A run that was killed goes on from one of its last steps.

    Args:
        scene: with the poses that the refinement starts from, and stays near to.
        reconstruction: folder with ``mesh.ply``, as ``reconstruct_scene_files`` writes it.
        depth_range: (near, far) in the scene's unit, for the choice of partners.

    Returns:
        Facts: views refined, mean rotation (degrees) and translation (the scene's unit), the photometric error of the
        first and the last steps, seconds.

    Raises:
        UserError: an image or the mesh cannot be read.
    """
    manifest, poses, progress = Manifest(out), out / "poses.json", out / "poses_progress.pth"
    made_from = fingerprint(
        [Manifest(reconstruction).made_from("mesh"), describe_scene(scene), asdict(settings), depth_range]
    )
    if not manifest.begin("poses", made_from, [poses]):
        started = time.perf_counter()
        refinement = _prepare(scene, reconstruction / "mesh.ply", settings, depth_range, device)
        errors = _load_progress(progress, made_from, refinement)
        with tqdm(total=settings.steps, desc="poses", unit="step", disable=quiet, dynamic_ncols=True) as bar:
            bar.update(refinement.steps_done)
            while refinement.steps_done < settings.steps:
                errors.append(refinement.step())
                bar.update(1)
                if refinement.steps_done % _STEPS_TO_SAVE == 0:
                    with atomic_path(progress) as temporary:
                        state = {"made_from": made_from, "errors": errors, **refinement.state_dict()}
                        torch.save(state, temporary)
        refined = refinement.poses().cpu().numpy()
        write_poses(poses, {view.id: refined[k] for k, view in enumerate(scene.views)})
        turned, moved = refinement.moved_by()
        manifest.finish(
            "poses",
            views=len(refinement.compared),
            turned_degrees=float(turned.mean()),
            moved=float(moved.mean()),
            error_before=_mean(errors[:_STEPS_TO_SAVE]),
            error_after=_mean(errors[-_STEPS_TO_SAVE:]),
            seconds=time.perf_counter() - started,
        )
        progress.unlink(missing_ok=True)
    return manifest.facts("poses")


def _prepare(
    scene: Scene,
    mesh: Path,
    settings: PoseRefinementSettings,
    depth_range: tuple[float, float] | None,
    device: torch.device,
) -> ScenePoseRefinement:
    """Images, depth of the surface and partners of all views, on a coarse grid."""
    size = working_size(scene, _MAX_SIZE)
    renderer = RaycastRenderer()
    renderer.load(mesh)
    selector = ViewSelector(scene, depth_range)
    number = {view.id: k for k, view in enumerate(scene.views)}
    views = [load_view(view, size) for view in scene.views]
    depth = [renderer.render(view.intrinsics.numpy(), view.world_to_cam.numpy(), size) for view in views]
    return ScenePoseRefinement(
        torch.stack([view.image for view in views]).to(device),
        torch.stack([torch.from_numpy(rendered) for rendered in depth]).to(device),
        torch.stack([view.intrinsics for view in views]).to(device),
        torch.stack([view.world_to_cam for view in views]).to(device),
        [[number[i] for i in selector.sources(view.id, _PARTNERS)] for view in scene.views],
        settings,
    )


def _load_progress(path: Path, made_from: str, refinement: ScenePoseRefinement) -> list[float]:
    """Go on from what an interrupted run saved, if it was made from the same; returns the errors of its steps."""
    if not path.exists():
        return []
    state = read_weights(path)
    if state["made_from"] != made_from:
        return []
    refinement.load_state_dict(state)
    return list(state["errors"])


def _mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)
