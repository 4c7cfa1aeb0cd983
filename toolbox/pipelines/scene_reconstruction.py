"""Posed images -> depth maps -> cloud -> mesh, for one scene; resumable."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from toolbox.datasets import load_view, working_size
from toolbox.datasets.scenes import with_depth_ranges
from toolbox.datasets.view_selection import ViewSelector
from toolbox.errors import UserError
from toolbox.evaluation import depth_metrics
from toolbox.fusion import FusionRecipe
from toolbox.io import read_pfm, write_json
from toolbox.models.reconstructors import MultiViewStereo
from toolbox.structures import Scene

from .depth_inference import DepthFiles, SceneDepth, infer_scene_depth, plan_references
from .fusion_stages import fuse_scene
from .settings import check_names
from .stages import Manifest, describe_scene, fingerprint, fingerprint_weights


@dataclass(frozen=True)
class ReconstructionSettings:
    """How a scene is reconstructed.

    Attributes:
        every: use every n-th view of the scene, and no other.
        max_size: the images' longer side is reduced to it; None keeps the stored size.
        num_levels, num_sources, depth_range, bfloat16, tile_size, min_distinctness: see ``SceneDepth``.
        recipe: see ``FusionRecipe``; its ``num_sources`` is its own.
        keep_filtered: also write the depth that passed the filters, ``filtered/<view id:08d>.pfm``.
        evaluate: compare the depth maps with the scene's own, where it has some.
    """

    every: int = 1
    max_size: int | None = None
    num_levels: int | None = None
    num_sources: int = 4
    depth_range: tuple[float, float] | None = None
    bfloat16: bool = False
    tile_size: int | None = None
    min_distinctness: float | None = None
    recipe: FusionRecipe = field(default_factory=FusionRecipe)
    keep_filtered: bool = False
    evaluate: bool = False

    @classmethod
    def from_dicts(cls, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> "ReconstructionSettings":
        """Settings from a config's and what is given on top; recipes are merged key by key, a whole one is taken.

        Raises:
            UserError: a name is none of the settings, or of the recipe's.
        """
        merged = {**check_names(cls, defaults), **check_names(cls, given)}
        recipe = given.get("recipe") or {}
        if not isinstance(recipe, FusionRecipe):
            recipe = FusionRecipe.from_dict({**dict(defaults.get("recipe", {})), **recipe})
        return cls(**{**merged, "recipe": recipe})


def reconstruct_scene_files(
    scene: Scene, model: MultiViewStereo, out: str | Path, settings: ReconstructionSettings, quiet: bool = False
) -> dict[str, Any]:
    """Write ``depth/``, ``confidence/``, ``cameras/``, ``cloud.ply``, ``mesh.ply`` and ``summary.json`` under ``out``.

    A run that was killed goes on where it stopped; a changed setting, scene or model reruns what depends on it.

    Returns:
        The summary: counts, timings, what was left out, recipe, transform from the source's frame.

    Raises:
        UserError: the scene cannot be read or gives no depth range, or the filters leave nothing to fuse (the depth
            maps stay).
    """
    out = Path(out)
    started = time.perf_counter()
    scene = replace(scene, views=scene.views[:: settings.every])
    scene, range_source = (scene, "given") if settings.depth_range is not None else with_depth_ranges(scene)
    size = working_size(scene, settings.max_size)
    depth_settings = SceneDepth(
        size,
        settings.num_levels,
        settings.num_sources,
        settings.depth_range,
        bfloat16=settings.bfloat16,
        tile_size=settings.tile_size,
        min_distinctness=settings.min_distinctness,
    )
    selector = ViewSelector(scene, settings.depth_range)
    most = max(settings.num_sources, settings.recipe.num_sources)
    sources = {view.id: selector.sources(view.id, most) for view in scene.views}
    references, left_out = plan_references(scene, sources, settings.depth_range)
    if not references:
        reasons = "; ".join(sorted({frame.reason for frame in left_out}))
        raise UserError(
            scene.name,
            f"none of its {len(scene.views)} views can be reconstructed: {reasons}",
            "Give a depth range (--depth-range NEAR FAR), a pair list, or more views with overlap",
        )
    sources = {i: sources[i] for i in references}
    # Fusion may take more sources than the network: its recipe must not make depth maps stale.
    matched = {i: ids[: settings.num_sources] for i, ids in sources.items()}

    manifest = Manifest(out)
    made_from = fingerprint([describe_scene(scene), asdict(depth_settings), matched, fingerprint_weights(model)])
    files = [DepthFiles(out, view_id) for view_id in references]
    if not manifest.begin("depth", made_from, [path for f in files for path in f.all()]):
        with _progress("depth", len(references), quiet) as bar:
            facts = infer_scene_depth(scene, model, matched, out, depth_settings, _stepper(bar))
        manifest.finish("depth", **facts)

    with _progress("fusion", len(references), quiet) as bar:
        fusion_facts = fuse_scene(
            scene, out, size, sources, settings.recipe, made_from, manifest, _stepper(bar), settings.keep_filtered
        )

    summary = {
        "scene": scene.name,
        "unit": scene.unit,
        "views": len(scene.views),
        "references": len(references),
        "left_out": [asdict(frame) for frame in (*scene.left_out, *left_out)],
        "image_size": list(size),
        "num_levels": settings.num_levels or model.test_num_levels,
        "num_sources": settings.num_sources,
        "depth_range": {"from": range_source, "given": settings.depth_range},
        "recipe": settings.recipe.to_dict(),
        "source_to_scene": scene.source_to_scene.tolist(),
        "depth": manifest.facts("depth"),
        "fusion": fusion_facts,
        "seconds_this_run": time.perf_counter() - started,
    }
    if settings.evaluate:
        summary["depth_error"] = _evaluate(scene, out, references, size)
    write_json(out / "summary.json", summary)
    return summary


def _evaluate(scene: Scene, out: Path, references: list[int], size: tuple[int, int]) -> dict[str, Any]:
    """Means over the views that have depth of their own."""
    rows = []
    for view_id in references:
        loaded = load_view(scene.view(view_id), size, with_depth=True)
        if loaded.depth is not None:
            predicted = torch.from_numpy(read_pfm(DepthFiles(out, view_id).depth))
            rows.append(depth_metrics(predicted, loaded.depth))
    if not rows:
        raise UserError(scene.name, "has no depth to evaluate against", "Leave out --evaluate")
    return {"views": len(rows), **{name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}}


def _progress(label: str, total: int, quiet: bool) -> tqdm:
    return tqdm(total=total, desc=label, unit="view", disable=quiet, dynamic_ncols=True)


def _stepper(bar: tqdm) -> Callable[[int, int], None]:
    return lambda done, _: bar.update(done - bar.n)
