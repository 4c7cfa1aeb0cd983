"""Posed video -> keyframes -> fragments -> voxels -> mesh, for one scene and a volumetric network.

One fragment is in memory at a time, and what the network and the scene's volume know of the voxels so far.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from toolbox.datasets.fragments import FragmentDataset, KeyframeRule, WindowSettings
from toolbox.errors import UserError
from toolbox.evaluation import MeshJob, check_measurable, measure_mesh
from toolbox.fusion import SceneMesher, TriangleMesh, write_mesh
from toolbox.io import write_json
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.rendering import read_mesh
from toolbox.structures import Scene

from .mesh_colours import colour_mesh
from .settings import check_names
from .stages import Manifest, describe_scene, fingerprint, fingerprint_weights
from .video_progress import VideoProgress

_METRES = {"m": 1.0, "mm": 0.001}


@dataclass(frozen=True)
class VideoSettings:
    """How a video is reconstructed by a volumetric network.

    Attributes:
        every: use every n-th frame of the video, and no other.
        size: (height, width) at which the network sees the images; None keeps the stored one.
        keyframes: which frames are keyframes, and how many are a fragment.
        orientation: of the volumes, see ``world_to_volume``.
        window: of ``WindowSettings``: max_depth, below_floor, vertical. Shape and voxels are the network's.
        volume: settings of ``SceneMesher``.
        metres_per_unit: length of the unit of the scene's poses; None: 1 for metres, 0.001 for millimetres, and 1 is
            assumed where the source does not tell the unit.
        memory: use the network's memory of earlier fragments; None: as its config says.
        incremental: also write the mesh after each fragment, ``mesh_0000.ply`` and so on.
        colours: colour the mesh by the keyframes; else it is grey.
        bfloat16: run the network in bfloat16.
        evaluate: measure the mesh against the scene's own mesh or depth (see ``toolbox.evaluation.mesh_measures``).
    """

    every: int = 1
    size: tuple[int, int] | None = (480, 640)
    keyframes: KeyframeRule = field(default_factory=lambda: KeyframeRule(keep_rest=True))
    orientation: str = "auto"
    window: Mapping[str, Any] = field(default_factory=dict)
    volume: Mapping[str, Any] = field(default_factory=dict)
    metres_per_unit: float | None = None
    memory: bool | None = None
    incremental: bool = False
    colours: bool = True
    bfloat16: bool = False
    evaluate: bool = False

    @classmethod
    def from_dicts(cls, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> "VideoSettings":
        """Settings from a config's and what is given on top; keyframes, window and volume are merged key by key.

        Raises:
            UserError: a name is none of the settings.
        """
        merged = {**check_names(cls, defaults), **check_names(cls, given)}
        for name in ("keyframes", "window", "volume"):
            merged[name] = {**dict(defaults.get(name, {})), **dict(given.get(name, {}))}
        rule = check_names(KeyframeRule, merged.pop("keyframes"))
        if merged.get("size") is not None:
            merged["size"] = tuple(merged["size"])
        return cls(**merged, keyframes=KeyframeRule(**{"keep_rest": True, **rule}))


def reconstruct_video_files(
    scene: Scene, model: VolumetricReconstructor, out: str | Path, settings: VideoSettings, quiet: bool = False
) -> dict[str, Any]:
    """Write ``mesh.ply`` (in the scene's world and unit) and ``summary.json`` under ``out``.

    A run that is complete is not repeated; one that was killed goes on after the last fragment that it noted in
    ``progress.pth`` (every 30 seconds at most). A changed setting, scene or model makes the mesh anew.

    Returns:
        The summary: counts, timings, what was left out and why, the scale, transform from the source's frame.

    Raises:
        UserError: the scene has too few keyframes, an image cannot be read, or no surface was found.
    """
    out, started = Path(out), time.perf_counter()
    scene = replace(scene, views=scene.views[:: settings.every])
    scale, scale_from = _scale(scene, settings)
    metric = _in_metres(scene, scale)
    if settings.evaluate:
        check_measurable(metric, MeshJob(metric, out / "mesh.ply").measures)
    dataset = FragmentDataset(
        scenes=metric,
        rule=asdict(settings.keyframes),
        orientation=settings.orientation,
        window=_window(model, settings),
        size=settings.size,
    )
    made_from = fingerprint([describe_scene(scene), scale, _describe(settings), fingerprint_weights(model)])
    steps = [out / f"mesh_{k:04d}.ply" for k in range(len(dataset))] if settings.incremental else []
    manifest = Manifest(out)
    if not manifest.begin("mesh", made_from, [*steps, out / "mesh.ply"]):
        progress = VideoProgress(out / "progress.pth", made_from)
        facts = _make_mesh(dataset, model, out, settings, scale, steps, progress, quiet)
        manifest.finish("mesh", **facts)
        progress.remove()
    (fragments,) = dataset.prepared
    summary = {
        "scene": scene.name,
        "unit": scene.unit,
        "scale": {"metres_per_unit": scale, "from": scale_from, "path_metres": round(_path_length(metric), 3)},
        "frames": fragments.frames,
        "keyframes": len(fragments.scene.views),
        "fragments": len(dataset),
        "views_per_fragment": settings.keyframes.views,
        "left_out": [asdict(frame) for frame in scene.left_out],
        "keyframes_left_over": fragments.rest,
        "image_size": None if settings.size is None else list(settings.size),
        "settings": _describe(settings),
        "source_to_scene": scene.source_to_scene.tolist(),
        "scene_to_volume_metres": fragments.world_to_volume.tolist(),
        "mesh": manifest.facts("mesh"),
        "seconds_this_run": time.perf_counter() - started,
    }
    if settings.evaluate:
        summary["mesh_error"] = _evaluate(metric, out / "mesh.ply", scale)
    write_json(out / "summary.json", summary)
    return summary


@torch.no_grad()
def _make_mesh(
    dataset: FragmentDataset,
    model: VolumetricReconstructor,
    out: Path,
    settings: VideoSettings,
    scale: float,
    steps: list[Path],
    progress: VideoProgress,
    quiet: bool,
) -> dict[str, Any]:
    """Run the network over all fragments that are left, and write the mesh; the stage's facts."""
    mesher, seconds = SceneMesher(**settings.volume), {"images": 0.0, "network": 0.0, "mesh": 0.0}
    kept = progress.load()
    done = 0 if kept is None else kept["done"]
    bar = tqdm(total=len(dataset), initial=done, desc="fragments", unit="fragment", disable=quiet, dynamic_ncols=True)
    with _ready(model, settings), bar:
        if kept is not None:
            mesher.restore(kept["volume"])
            model.recall(kept["memory"], dataset[done - 1])
        for number in range(done, len(dataset)):
            with _timed(seconds, "images"):
                sample = dataset[number]
            with _timed(seconds, "network"):
                mesher.add(_predict(model, sample, settings.bfloat16))
            if steps:
                with _timed(seconds, "mesh"):
                    write_mesh(steps[number], _in_scene_units(mesher.mesh(), scale))
            progress.save(number + 1, model, mesher)
            bar.update()
    with _timed(seconds, "mesh"):
        mesh = mesher.mesh()
    if not len(mesh.triangles):
        raise UserError(
            dataset.recordings[0].name,
            f"no surface was found in {len(dataset)} fragments ({len(mesher)} voxels)",
            "Check that poses are in metres (metres_per_unit), or train the network longer",
        )
    if settings.colours:
        with _timed(seconds, "colours"):
            mesh = colour_mesh(mesh, dataset.prepared[0].scene.views, settings.size, dataset.window.voxel_size, quiet)
    write_mesh(out / "mesh.ply", _in_scene_units(mesh, scale))
    return {
        "vertices": len(mesh.vertices),
        "triangles": len(mesh.triangles),
        "voxels": len(mesher),
        "fragments_of_a_killed_run": done,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def _predict(model: VolumetricReconstructor, sample: dict[str, Any], bfloat16: bool) -> dict[str, Any]:
    device = next(model.parameters()).device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
        (prediction,) = model.test_step([sample])
    return prediction


@contextmanager
def _ready(model: VolumetricReconstructor, settings: VideoSettings) -> Iterator[None]:
    """The model in evaluation mode, its memory empty before and after."""
    training, remembering = model.training, model.neck.fusion_on
    model.eval()
    model.forget()
    if settings.memory is not None:
        model.neck.fusion_on = settings.memory
    try:
        yield
    finally:
        model.forget()
        model.neck.fusion_on = remembering
        model.train(training)


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[what] = seconds.get(what, 0.0) + time.perf_counter() - started


def _window(model: VolumetricReconstructor, settings: VideoSettings) -> dict[str, Any]:
    own = {"shape": model.neck.window, "voxel_size": model.neck.voxel_size}
    if fixed := set(settings.window) & set(own):
        raise UserError(
            f"window.{min(fixed)}", "is the network's, and fixed", "Choose another network, or leave it out"
        )
    return {**check_names(WindowSettings, settings.window), **own}


def _scale(scene: Scene, settings: VideoSettings) -> tuple[float, str]:
    """Metres in a unit of the scene's world, and who says so."""
    if settings.metres_per_unit is not None:
        if not settings.metres_per_unit > 0:
            raise UserError(f"metres_per_unit={settings.metres_per_unit}", "is no length", "Give a positive number")
        return float(settings.metres_per_unit), "given"
    if scene.unit in _METRES:
        return _METRES[scene.unit], "the scene's unit"
    return 1.0, "assumed: the source does not tell its unit"


def _in_metres(scene: Scene, scale: float) -> Scene:
    """The scene in a world of metres; its own mesh is of another world then."""
    if scale == 1.0:
        return replace(scene, unit="m")
    views = []
    for view in scene.views:
        pose = view.world_to_cam.copy()
        pose[:3, 3] *= scale
        views.append(replace(view, world_to_cam=pose, depth_scale=view.depth_scale * scale, depth_range=None))
    return replace(scene, views=views, unit="m", pairs=None, points=None, mesh_path=None)


def _in_scene_units(mesh: TriangleMesh, scale: float) -> TriangleMesh:
    return mesh if scale == 1.0 else replace(mesh, vertices=(mesh.vertices / scale).astype(np.float32))


def _path_length(scene: Scene) -> float:
    centres = np.stack([view.centre for view in scene.views])
    return float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())


def _describe(settings: VideoSettings) -> dict[str, Any]:
    """All that decides the mesh."""
    return asdict(replace(settings, window=dict(settings.window), volume=dict(settings.volume), evaluate=False))


def _evaluate(scene: Scene, mesh: Path, scale: float) -> dict[str, Any]:
    vertices, triangles = read_mesh(mesh)
    row = measure_mesh(MeshJob(scene, (vertices * scale, triangles)))
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
