"""How good pseudo labels are: without ground truth, and with it where there is some."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.datasets import load_view
from toolbox.datasets.loading import LoadedView
from toolbox.datasets.view_selection import ViewSelector
from toolbox.evaluation import depth_metrics
from toolbox.geometry import resample_dense, resample_depth
from toolbox.io import read_cam_txt, read_pfm, write_image
from toolbox.models.losses import view_synthesis_map
from toolbox.structures import Scene
from toolbox.visualization import contact_sheet, depth_to_rgb, error_to_rgb, overview_camera, render_mesh, robust_range

from .depth_inference import DepthFiles
from .pseudo_labels import LabelFiles

_AGREEMENT = 0.01  # relative difference of two labels that agree
_MOST_VIEWS = 60  # that are assessed; evenly chosen
_SOURCES = 4
_PICTURES = 6
_ERROR_SHOWN = 0.1  # relative error of the last colour


def assess_labels(
    scene: Scene,
    out: Path,
    depth_range: tuple[float, float] | None = None,
    previous: Path | None = None,
    metrics: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Numbers on the labels of a scene, and on the depth maps they were made from, at the labels' resolution.

    Args:
        scene: the training scene; its own depth, if it has any, is read here alone.
        out: folder of the scene, with ``labels/`` and ``depth/``.
        previous: that of the iteration before.
        metrics: options of ``depth_metrics`` (thresholds, unit, min_depth, max_depth).

    Returns:
        Means over up to 60 views: 'coverage' (share of pixels with a label); 'agreement' (share of the pixels labelled
        now and before whose labels differ by less than 1 %); 'label_photometric' and 'depth_photometric' (L1 between
        the reference and the best 2 of 4 sources warped by the depth, colours in [0, 1]); and, where the scene has
        depth, 'label_...' and 'depth_...' of ``depth_metrics``.
    """
    selector = ViewSelector(scene, depth_range)
    rows: dict[str, list[float]] = defaultdict(list)
    for view_id in _spread((view.id for view in scene.views), _MOST_VIEWS):
        for name, value in _assess_view(scene, out, view_id, selector, previous, metrics or {}).items():
            rows[name].append(value)
    return {"views": len(rows["coverage"]), **{name: float(np.nanmean(values)) for name, values in rows.items()}}


def draw_labels(scene: Scene, out: Path, picture: Path) -> None:
    """Image, estimated depth, label and (where there is ground truth) its error for some views; and the surface."""
    tiles = []
    estimated = [view.id for view in scene.views if DepthFiles(out, view.id).depth.exists()]
    shown_views = _spread(estimated or [view.id for view in scene.views], _PICTURES)
    for view_id in shown_views:
        label, camera = _label(scene, out, view_id, with_depth=True)
        shown = robust_range(label.numpy())
        depth = _inferred(out, view_id, camera)
        tiles += [
            (f"view {view_id}", np.ascontiguousarray(camera.image.numpy().transpose(1, 2, 0))),
            ("estimated", _picture(depth, label, shown)),
            ("label", _picture(label, label, shown)),
        ]
        if camera.depth is not None:
            error = torch.where((label > 0) & (camera.depth > 0), label / camera.depth - 1, torch.nan)
            tiles.append(("error of the label, 10 % bright", error_to_rgb(error.numpy(), _ERROR_SHOWN)))
    write_image(picture, contact_sheet(tiles, columns=len(tiles) // len(shown_views), tile_width=240))
    if (out / "mesh.ply").exists():
        cameras = np.stack([view.world_to_cam for view in scene.views])
        size = (540, 720)
        intrinsics, world_to_cam = overview_camera(cameras, _label_points(scene, out), size)
        write_image(
            picture.with_name(f"{picture.stem}_mesh.png"),
            render_mesh(out / "mesh.ply", intrinsics, world_to_cam, size, cull_back=True),
        )


def _spread(ids: Iterable[int], most: int) -> list[int]:
    ids = list(ids)
    return [ids[i] for i in np.linspace(0, len(ids) - 1, min(most, len(ids))).round().astype(int)]


def _assess_view(
    scene: Scene, out: Path, view_id: int, selector: ViewSelector, previous: Path | None, metrics: dict[str, Any]
) -> dict[str, float]:
    label, camera = _label(scene, out, view_id, with_depth=True)
    depth = _inferred(out, view_id, camera)
    row = {"coverage": float((label > 0).float().mean())}
    if previous is not None and (before := LabelFiles(previous, view_id).depth).exists():
        old = torch.from_numpy(read_pfm(before))
        both = (label > 0) & (old > 0)
        row["agreement"] = float(((label - old).abs() < _AGREEMENT * old)[both].float().mean())
    sources = [load_view(scene.view(i), tuple(camera.image.shape[-2:])) for i in selector.sources(view_id, _SOURCES)]
    for name, values in (("label", label), ("depth", depth)):
        if values is None:
            continue
        if sources:
            row[f"{name}_photometric"] = _photometric(camera, sources, values)
        if camera.depth is not None:
            row |= {f"{name}_{key}": value for key, value in depth_metrics(values, camera.depth, **metrics).items()}
    return row


def _label(scene: Scene, out: Path, view_id: int, with_depth: bool = False) -> tuple[Float[Tensor, "h w"], LoadedView]:
    label = torch.from_numpy(read_pfm(LabelFiles(out, view_id).depth))
    return label, load_view(scene.view(view_id), tuple(label.shape), with_depth)


def _inferred(out: Path, view_id: int, camera: LoadedView) -> Float[Tensor, "h w"] | None:
    """The network's depth on the label's grid; None where the view was not inferred."""
    files = DepthFiles(out, view_id)
    if not files.depth.exists():
        return None
    depth = torch.from_numpy(read_pfm(files.depth))[None]
    grid = torch.from_numpy(read_cam_txt(files.camera).intrinsics)[None]
    size = tuple(camera.image.shape[-2:])
    dense = resample_dense(depth, grid, camera.intrinsics[None], size)
    # Beyond the edges of the depth map there is nothing.
    known = resample_depth(depth, grid, camera.intrinsics[None], size) > 0
    return torch.where(known, dense, torch.zeros_like(dense))[0]


def _photometric(camera: LoadedView, sources: list[LoadedView], depth: Float[Tensor, "h w"]) -> float:
    views = [camera, *sources]
    error, valid = view_synthesis_map(
        torch.stack([view.image for view in views])[None].float() / 255,
        depth[None],
        torch.stack([view.intrinsics for view in views])[None].float(),
        torch.stack([view.world_to_cam for view in views])[None],
        {"l1": 1.0},
    )
    return float(error[valid].mean()) if valid.any() else float("nan")


def _picture(depth: Float[Tensor, "h w"] | None, like: Tensor, shown: tuple[float, float]) -> np.ndarray:
    return depth_to_rgb((torch.zeros_like(like) if depth is None else depth).numpy(), shown)


def _label_points(scene: Scene, out: Path) -> Float[np.ndarray, "n 3"]:
    """Some labelled pixels as points of the world."""
    points = [np.zeros((0, 3))]
    for view_id in _spread((view.id for view in scene.views), _PICTURES):
        label, camera = _label(scene, out, view_id)
        y, x = np.nonzero(label.numpy()[::8, ::8])
        rays = np.linalg.inv(camera.intrinsics.numpy()) @ np.stack((8 * x, 8 * y, np.ones_like(x)))
        cam = (rays * label.numpy()[8 * y, 8 * x]).T
        world_to_cam = camera.world_to_cam.numpy()
        points.append((cam - world_to_cam[:3, 3]) @ world_to_cam[:3, :3])
    return np.concatenate(points)
