"""Scenes -> fragments, and where there is depth the TSDF volumes that volumetric networks learn from."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolbox.datasets.fragments import (
    KeyframeRule,
    SceneFragments,
    VolumeInfo,
    read_published_fragments,
    read_published_info,
    read_volume,
    select_fragments,
    world_to_volume,
    write_fragments,
    write_volume,
)
from toolbox.datasets.fragments.published import published_volume_path
from toolbox.datasets.fragments.scene_fragments import FILE_NAME
from toolbox.datasets.scenes import open_scene
from toolbox.fusion import TSDFIntegrator, TSDFVolume, view_frustum
from toolbox.fusion.threads import in_threads
from toolbox.pipelines.stages import Manifest, describe_scene, fingerprint
from toolbox.structures import Scene, View

_GRID = 8  # volumes start and end at multiples of so many voxels, as windows do


@dataclass(frozen=True)
class PreparationSettings:
    """How scenes are prepared.

    Attributes:
        rule: of keyframes and fragments.
        orientation, camera_height: of the volumes, see ``world_to_volume``.
        tsdf: make volumes where the scene has depth.
        voxel_size: of the finest volume, in metres.
        levels: volumes; voxels double from one to the next.
        max_depth: larger depths count as unknown, in metres.
        device: of the integration.
    """

    rule: KeyframeRule = field(default_factory=KeyframeRule)
    orientation: str = "auto"
    camera_height: float = 1.5
    tsdf: bool = True
    voxel_size: float = 0.04
    levels: int = 3
    max_depth: float = 3.0
    device: str = "cpu"


@dataclass(frozen=True)
class PreparationJob:
    """One scene to prepare.

    Attributes:
        source: of the scene, any that ``open_scene`` opens.
        out: its folder.
        settings: how.
        format, options: for ``open_scene``.
        published: NeuralRecon's folder of this scene, to take fragments and volumes from; or None.
    """

    source: Path
    out: Path
    settings: PreparationSettings = field(default_factory=PreparationSettings)
    format: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    published: Path | None = None


def prepare_fragments(job: PreparationJob) -> dict[str, Any]:
    """Prepare one scene: ``fragments.json`` and ``tsdf_<level>.npz`` in ``job.out``; what is there already is kept.

    Returns:
        The scene's name, what came of it in numbers, and what was left out.

    Raises:
        UserError: the scene cannot be opened, or has too few keyframes, or a file cannot be read.
    """
    start = time.perf_counter()
    scene = open_scene(job.source, format=job.format, **job.options)
    settings, manifest = job.settings, Manifest(job.out)
    with_depth = [view for view in scene.views if view.depth_path is not None]
    levels = _num_volumes(job, bool(with_depth))
    made_from = fingerprint(
        [describe_scene(scene), _describe_depth(with_depth if levels else []), asdict(settings), str(job.published)]
    )
    outputs = [job.out / FILE_NAME, *(job.out / f"tsdf_{level}.npz" for level in range(levels))]
    if not manifest.begin("fragments", made_from, outputs):
        if job.published is not None:
            prepared = _take_published(job, scene)
        else:
            transform = world_to_volume(scene, settings.orientation, settings.camera_height)
            prepared = select_fragments(scene, settings.rule, transform)
            if levels:
                prepared = replace(prepared, volumes=_make_volumes(prepared, with_depth, settings, job.out))
        write_fragments(job.out, prepared)
        manifest.finish(
            "fragments",
            scene=scene.name,
            frames=len(scene.views),
            frames_left_out=[[frame.name, frame.reason] for frame in scene.left_out],
            frames_without_depth=len(scene.views) - len(with_depth),
            fragments=len(prepared.fragments),
            keyframes_left_over=prepared.rest,
            volumes=None
            if prepared.volumes is None
            else {**asdict(prepared.volumes), "origin": list(prepared.volumes.origin)},
            seconds=round(time.perf_counter() - start, 2),
        )
    return manifest.facts("fragments")


def _num_volumes(job: PreparationJob, with_depth: bool) -> int:
    if job.published is not None:
        return read_published_info(job.published).levels if (job.published / "tsdf_info.pkl").is_file() else 0
    return job.settings.levels if job.settings.tsdf and with_depth else 0


def _describe_depth(views: Sequence[View]) -> list[Any]:
    described = []
    for view in views:
        status = view.depth_path.stat() if view.depth_path.exists() else None
        when = (status.st_size, status.st_mtime_ns) if status else None
        described.append([str(view.depth_path), when, view.depth_scale])
    return described


def _make_volumes(
    prepared: SceneFragments, views: Sequence[View], settings: PreparationSettings, folder: Path
) -> VolumeInfo:
    volumes = integrate_views(
        views,
        prepared.world_to_volume,
        settings.voxel_size,
        settings.levels,
        settings.max_depth,
        settings.device,
    )
    for level, volume in enumerate(volumes):
        write_volume(folder / f"tsdf_{level}.npz", volume.tsdf)
    return VolumeInfo(tuple(volumes[0].origin.tolist()), settings.voxel_size, settings.levels)


def _take_published(job: PreparationJob, scene: Scene) -> SceneFragments:
    prepared = read_published_fragments(job.published, scene)
    if prepared.volumes is not None:
        for level in range(prepared.volumes.levels):
            write_volume(job.out / f"tsdf_{level}.npz", read_volume(published_volume_path(job.published, level)))
    return prepared


def integrate_views(
    views: Sequence[View],
    world_to_volume: np.ndarray,
    voxel_size: float = 0.04,
    levels: int = 3,
    max_depth: float = 3.0,
    device: torch.device | str = "cpu",
) -> list[TSDFVolume]:
    """TSDF volumes of all depth maps at several voxel sizes, finest first; each depth map is read once.

    They share their origin, and cover everything that any view sees up to ``max_depth``.

    Args:
        views: with depth, in metres.
        world_to_volume: (4, 4) rigid, from the views' world to the volumes' frame.

    Raises:
        UserError: a depth map cannot be read, or the volume is absurdly large.
    """
    volume_to_world = torch.from_numpy(np.linalg.inv(world_to_volume))
    poses = [torch.from_numpy(view.world_to_cam) @ volume_to_world for view in views]
    corners = [
        view_frustum(view.size, torch.from_numpy(view.intrinsics), pose, max_depth)
        for view, pose in zip(views, poses, strict=True)
    ]
    points = torch.cat(corners) / (voxel_size * _GRID)
    low, high = points.amin(0).floor(), points.amax(0).ceil()
    origin = low * voxel_size * _GRID
    shape = [int(n) * _GRID for n in (high - low).tolist()]
    integrators = [
        TSDFIntegrator(
            origin,
            tuple(math.ceil(n / 2**level) for n in shape),
            voxel_size * 2**level,
            max_depth=max_depth,
            device=device,
        )
        for level in range(levels)
    ]
    # Threads read ahead: decoding a depth map takes as long as integrating it.
    for (depth, intrinsics), pose in zip(in_threads(View.stored_depth, views), poses, strict=True):
        for integrator in integrators:
            integrator.integrate(torch.from_numpy(depth), torch.from_numpy(intrinsics), pose)
    return [integrator.volume() for integrator in integrators]
