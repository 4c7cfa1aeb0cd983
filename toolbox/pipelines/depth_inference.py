"""A depth map and a confidence map for every view of a scene, one reference at a time."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from toolbox.datasets import LoadedView, load_view
from toolbox.datasets.depth_ranges import depth_range_for
from toolbox.errors import UserError
from toolbox.io import CamFile, write_cam_txt, write_image, write_pfm
from toolbox.models.reconstructors import MultiViewStereo, image_depth, photometric_distinctness
from toolbox.structures import LeftOut, Scene
from toolbox.visualization import depth_to_rgb

from .feature_store import Features, FeatureStore

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SceneDepth:
    """What is inferred for a scene, and how.

    Attributes:
        size: (height, width) at which the network sees every image, and of the depth maps.
        num_levels: pyramid levels; None takes the model's own number.
        num_sources: source views per reference, at most.
        depth_range: (near, far) for all views, in the scene's unit; None takes each view's.
        min_distinctness: confidence is set to 0 where ``photometric_distinctness`` is lower; None leaves it alone.
        max_feature_bytes: features held in memory; more goes to disk.
        bfloat16: run the network in bfloat16.
        tile_size: cost volumes in overlapping tiles of so many pixels a side, at most; see ``infer_depth``.
    """

    size: tuple[int, int]
    num_levels: int | None = None
    num_sources: int = 4
    depth_range: tuple[float, float] | None = None
    min_distinctness: float | None = None
    max_feature_bytes: int = 4 * 2**30
    bfloat16: bool = False
    tile_size: int | None = None


@dataclass(frozen=True)
class DepthFiles:
    """Where a view's results lie."""

    folder: Path
    view_id: int

    @property
    def depth(self) -> Path:
        """PFM, in the scene's unit."""
        return self.folder / "depth" / f"{self.view_id:08d}.pfm"

    @property
    def picture(self) -> Path:
        """The depth as a picture."""
        return self.folder / "depth" / f"{self.view_id:08d}.png"

    @property
    def confidence(self) -> Path:
        """PFM, in [0, 1]."""
        return self.folder / "confidence" / f"{self.view_id:08d}.pfm"

    @property
    def camera(self) -> Path:
        """The camera of the depth map's grid."""
        return self.folder / "cameras" / f"{self.view_id:08d}_cam.txt"

    def all(self) -> list[Path]:
        """In the order of writing: the depth map comes last and so tells that the view is done."""
        return [self.camera, self.confidence, self.picture, self.depth]

    def done(self) -> bool:
        """Whether all are there."""
        return all(path.exists() for path in self.all())


def plan_references(
    scene: Scene, sources: dict[int, list[int]], depth_range: tuple[float, float] | None
) -> tuple[list[int], list[LeftOut]]:
    """Views that can be references, and those that cannot for want of source views or of a depth range."""
    references, left_out = [], []
    for view in scene.views:
        reason = "" if sources[view.id] else "no source view overlaps with it"
        if not reason:
            try:
                depth_range_for(scene, view.id, depth_range)
            except UserError as error:
                reason = error.fault
        if reason:
            left_out.append(LeftOut(view.name or str(view.id), reason))
        else:
            references.append(view.id)
    return references, left_out


@torch.no_grad()
def infer_scene_depth(
    scene: Scene,
    model: MultiViewStereo,
    sources: dict[int, list[int]],
    out: str | Path,
    settings: SceneDepth,
    progress: Progress | None = None,
) -> dict[str, float | int]:
    """Write depth, confidence, picture and camera of every reference in ``sources``; views already done are kept.

    Features are computed once per view, and one reference's cost volume is held at a time.

    Args:
        sources: for each reference's id its source ids, best first.
        progress: called with (references done, references in all).

    Returns:
        Facts: number of views inferred now and found done, seconds.

    Raises:
        UserError: an image cannot be read, or a view has no depth range.
    """
    model.eval()
    device = next(model.parameters()).device
    num_levels = settings.num_levels or model.test_num_levels
    cameras: dict[int, tuple[Tensor, Tensor]] = {}
    needs_images = model.pose_refiner is not None or settings.min_distinctness is not None

    @functools.lru_cache(maxsize=2 * (settings.num_sources + 1))  # neighbours share most of their sources
    def load(view_id: int) -> LoadedView:
        return load_view(scene.view(view_id), settings.size)

    def image(view_id: int) -> Float[Tensor, "1 3 h w"]:
        return load(view_id).image[None].to(device).float() / 255

    def compute(view_id: int) -> Features:
        cameras[view_id] = load(view_id).intrinsics, load(view_id).world_to_cam
        with _precision(device, settings.bfloat16):
            return model.extract_features(image(view_id), num_levels)

    started, inferred = time.perf_counter(), 0
    scratch = Path(out) / ".features"
    with FeatureStore(compute, scratch, settings.max_feature_bytes, device) as store:
        for number, (reference, candidates) in enumerate(sources.items(), start=1):
            files = DepthFiles(Path(out), reference)
            if not files.done():
                ids = [reference, *candidates[: settings.num_sources]]
                features = [store[view_id] for view_id in ids]
                intrinsics = torch.stack([cameras[i][0] for i in ids])[None].float().to(device)
                world_to_cam = torch.stack([cameras[i][1] for i in ids])[None].to(device)
                depth_range = depth_range_for(scene, reference, settings.depth_range)
                images = [image(i) for i in ids] if needs_images else None
                with _precision(device, settings.bfloat16):
                    prediction = model.predict_from_features(
                        features,
                        intrinsics,
                        world_to_cam,
                        torch.tensor([depth_range], dtype=torch.float32, device=device),
                        settings.size,
                        images=images,
                        tile_size=settings.tile_size,
                    )
                depth = image_depth(prediction, intrinsics[:, 0], settings.size)[0].float().cpu()
                camera = CamFile(cameras[reference][1].numpy(), cameras[reference][0].numpy(), depth_range[0])
                confidence = prediction.confidence[0].float().cpu()
                if settings.min_distinctness is not None:
                    stacked = torch.stack(images, dim=1)
                    distinct = photometric_distinctness(stacked, depth[None].to(device), intrinsics, world_to_cam)
                    confidence[distinct[0].cpu() < settings.min_distinctness] = 0
                _write(files, depth, confidence, camera)
                inferred += 1
            if progress:
                progress(number, len(sources))
    return {
        "views_inferred": inferred,
        "views_found_done": len(sources) - inferred,
        "seconds": time.perf_counter() - started,
    }


def _precision(device: torch.device, bfloat16: bool) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)


def _write(files: DepthFiles, depth: Float[Tensor, "h w"], confidence: Float[Tensor, "h w"], camera: CamFile) -> None:
    write_cam_txt(files.camera, camera)
    write_pfm(files.confidence, confidence.numpy())
    write_image(files.picture, depth_to_rgb(depth.numpy()))
    write_pfm(files.depth, depth.clamp(min=0).numpy())
