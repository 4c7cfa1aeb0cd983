"""Fragments of videos as samples: images, cameras, the window of voxels, and the truth in it where there is one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from toolbox.datasets.building import Config, build_scenes
from toolbox.datasets.loading import LoadedView, load_view
from toolbox.errors import UserError
from toolbox.geometry import invert_rigid
from toolbox.registry import DATASETS, TRANSFORMS
from toolbox.structures import Scene

from .augmentation import RandomPlacement, scene_generator
from .keyframes import KeyframeRule
from .published_images import load_view_stretched
from .scene_fragments import FILE_NAME, SceneFragments, read_fragments, select_fragments
from .volume_frame import world_to_volume
from .windows import WindowSettings, level_camera, resample_tsdf, seen_surface, window_origin


@DATASETS.register_module()
class FragmentDataset(Dataset):
    """One sample per fragment, scene after scene, each scene's fragments in the order they were taken.

    Give ``scenes`` (keyframes are chosen at the start: no file is written, and no depth read) or ``prepared`` (what
    tools/prepare_fragments.py wrote, with truth).

    Args:
        scenes: importer configs (from SCENES), one or a list; or built scenes.
        prepared: a folder with ``fragments.json``, or with a folder of that kind for each scene; or a list of these.
        names: take only these scenes of ``prepared``: their names, or a text file with a name a line.
        rule: settings of ``KeyframeRule``, for ``scenes``.
        orientation: of the volumes, see ``world_to_volume``, for ``scenes``.
        window: settings of ``WindowSettings``.
        levels: of the truth; voxels double from level to level.
        size: (height, width) of the images; None keeps the stored one.
        read_tsdf: give the truth; needs ``prepared`` with volumes, and depth.
        read_depth: give the views' depth where the scene has it.
        placement: settings of ``RandomPlacement``; None leaves scenes where they are.
        seed: of the placements that a ``SceneOrderSampler`` asks for.
        transforms: from TRANSFORMS, in order.
        published_grid: of the TSDF, see ``resample_tsdf``.
        published_resize: of the images, see ``load_view_stretched``.

    Raises:
        UserError: nothing to take fragments from, or something about them is wrong.
    """

    metainfo: ClassVar[dict] = {}  # mmengine's visualizer asks for it

    def __init__(
        self,
        scenes: Config | Scene | Sequence[Config | Scene] | None = None,
        prepared: str | Path | Sequence[str | Path] | None = None,
        names: str | Path | Sequence[str] | None = None,
        rule: dict[str, Any] | None = None,
        orientation: str = "auto",
        window: dict[str, Any] | None = None,
        levels: int = 3,
        size: tuple[int, int] | None = (480, 640),
        read_tsdf: bool = False,
        read_depth: bool = False,
        placement: dict[str, Any] | None = None,
        seed: int = 0,
        transforms: Sequence[Config | Callable] = (),
        published_grid: bool = False,
        published_resize: bool = False,
    ):
        if (scenes is None) == (prepared is None):
            raise UserError("FragmentDataset", "needs either scenes or prepared fragments", "Give one of the two")
        self.window, self.levels = WindowSettings(**(window or {})), levels
        self.size = tuple(size) if size is not None else None
        self.read_tsdf, self.read_depth, self.published_grid = read_tsdf, read_depth, published_grid
        self.load_view = load_view_stretched if published_resize else load_view
        self.placement = None if placement is None else RandomPlacement(**placement)
        self.seed = seed
        self.transforms = [t if callable(t) else TRANSFORMS.build(t) for t in transforms]
        if prepared is not None:
            self.prepared = _read_prepared(prepared, names)
            self.recordings = [fragments.scene for fragments in self.prepared]
        else:
            key_rule = KeyframeRule(**(rule or {}))
            self.recordings = build_scenes(scenes)
            self.prepared = [
                select_fragments(scene, key_rule, world_to_volume(scene, orientation)) for scene in self.recordings
            ]
        if read_tsdf:
            self._check_truth()
        self._index = [(s, f) for s, scene in enumerate(self.prepared) for f in range(len(scene.fragments))]
        self._cached: tuple[int, list[Tensor]] | None = None

    @property
    def scene_lengths(self) -> list[int]:
        """Number of fragments of each scene; their samples follow each other in this order."""
        return [len(scene.fragments) for scene in self.prepared]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """A sample.

        Args:
            index: of the fragment; or (index, epoch), as ``SceneOrderSampler`` asks: then all fragments of a scene have
                one random placement in an epoch, and with the index alone each has its own.

        Returns:
            images (V, 3, H, W) uint8; intrinsics (V, 3, 3); world_to_cam (V, 4, 4), whose world is the (randomly
            placed) frame of the volumes; window (3,), the first voxel in voxels from that frame's origin;
            window_origin (3,), its centre in metres; volume_to_scene (4, 4), from that frame to the scene's world;
            world_to_aligned_camera (4, 4), of the middle view, see ``level_camera``;
            depth (V, H, W), all unknown (0) for a view without, or absent; tsdf and occupancy, {level: (x, y, z)}, or
            absent; meta with scene, fragment, view_ids, first and last (of the scene), unit, and recording: with the
            first fragment, the scene with all its frames (of prepared fragments: its keyframes), for evaluation.

        Raises:
            UserError: a file cannot be read, or images of two sizes meet.
        """
        number, epoch = index if isinstance(index, tuple) else (index, None)
        scene_index, fragment_index = self._index[number]
        scene = self.prepared[scene_index]
        view_ids = scene.fragments[fragment_index]
        views = self._load_views(scene, view_ids)
        place = self._place(scene_index, epoch)
        to_volume = place @ torch.from_numpy(scene.world_to_volume).double()
        world_to_cam = torch.stack([view.world_to_cam for view in views]) @ invert_rigid(to_volume)
        intrinsics = torch.stack([view.intrinsics for view in views])
        window = window_origin(tuple(views[0].image.shape[-2:]), intrinsics, world_to_cam, self.window)
        sample: dict[str, Any] = {
            "images": torch.stack([view.image for view in views]),
            "intrinsics": intrinsics,
            "world_to_cam": world_to_cam,
            "window": window,
            "window_origin": window.double() * self.window.voxel_size,
            "volume_to_scene": invert_rigid(to_volume),
            "world_to_aligned_camera": level_camera(world_to_cam[len(views) // 2]),
            "meta": {
                "scene": scene.scene.name,
                "fragment": fragment_index,
                "view_ids": torch.tensor(view_ids),
                "first": fragment_index == 0,
                "last": fragment_index == len(scene.fragments) - 1,
                "unit": scene.scene.unit,
                "recording": self.recordings[scene_index] if fragment_index == 0 else None,
            },
        }
        if self.read_depth or self.read_tsdf:
            depth = _stack_depth(views)
            if self.read_depth:
                sample["depth"] = depth
            if self.read_tsdf:
                sample |= self._truth(scene_index, sample, depth, invert_rigid(place))
        for transform in self.transforms:
            sample = transform(sample)
        return sample

    def _check_truth(self) -> None:
        for scene in self.prepared:
            where = f"scene '{scene.scene.name}'"
            if scene.volumes is None:
                raise UserError(where, "has no TSDF volumes", "Prepare it with depth, or set read_tsdf=False")
            info = scene.volumes
            if abs(info.voxel_size - self.window.voxel_size) > 1e-6 or info.levels < self.levels:
                raise UserError(
                    where,
                    f"has {info.levels} volumes from {info.voxel_size:g} m, not {self.levels} from "
                    f"{self.window.voxel_size:g} m",
                    "Prepare it anew with the window's voxel size",
                )

    def _load_views(self, scene: SceneFragments, view_ids: list[int]) -> list[LoadedView]:
        with_depth = self.read_depth or self.read_tsdf
        views = [self.load_view(scene.scene.view(view_id), self.size, with_depth) for view_id in view_ids]
        sizes = {tuple(view.image.shape[-2:]) for view in views}
        if len(sizes) > 1:
            raise UserError(
                f"scene '{scene.scene.name}'",
                f"has images of several sizes: {sorted(sizes)}",
                "Set the data set's size=(height, width)",
            )
        return views

    def _place(self, scene_index: int, epoch: int | None) -> Tensor:
        if self.placement is None:
            return torch.eye(4, dtype=torch.float64)
        return self.placement.draw(None if epoch is None else scene_generator(self.seed, epoch, scene_index))

    def _truth(self, scene_index: int, sample: dict[str, Any], depth: Tensor, unplace: Tensor) -> dict[str, Any]:
        """TSDF and occupancy of the window at every level."""
        info = self.prepared[scene_index].volumes
        tsdf, occupied = {}, {}
        for level, volume in enumerate(self._volumes(scene_index)):
            voxel = self.window.voxel_size * 2**level
            shape = tuple(n // 2**level for n in self.window.shape)
            origin, window = torch.tensor(info.origin, dtype=torch.float64), sample["window_origin"]
            tsdf[level] = resample_tsdf(volume, origin, voxel, window, shape, unplace, self.published_grid)
            occupied[level] = seen_surface(
                depth, sample["intrinsics"], sample["world_to_cam"], window, shape, voxel, self.window.max_depth
            )
        return {"tsdf": tsdf, "occupancy": occupied}

    def _volumes(self, scene_index: int) -> list[Tensor]:
        """A scene's volumes; those of the last scene are kept, since its next fragment is likely to follow."""
        if self._cached is None or self._cached[0] != scene_index:
            self._cached = (scene_index, [self.prepared[scene_index].volume(level) for level in range(self.levels)])
        return self._cached[1]


def _stack_depth(views: list[LoadedView]) -> Tensor:
    unknown = torch.zeros(views[0].image.shape[-2:])
    return torch.stack([unknown if view.depth is None else view.depth.float() for view in views])


def _read_prepared(
    prepared: str | Path | Sequence[str | Path], names: str | Path | Sequence[str] | None
) -> list[SceneFragments]:
    folders: list[Path] = []
    for path in map(Path, [prepared] if isinstance(prepared, str | Path) else prepared):
        inner = [path] if (path / FILE_NAME).is_file() else sorted(p.parent for p in path.glob(f"*/{FILE_NAME}"))
        if not inner:
            raise UserError(path, f"holds no {FILE_NAME}", "Make it with tools/prepare_fragments.py")
        folders += inner
    scenes = [read_fragments(folder) for folder in folders]
    if names is None:
        return scenes
    wanted = _read_names(names) if isinstance(names, str | Path) else list(names)
    by_name = {scene.scene.name: scene for scene in scenes}
    if missing := [name for name in wanted if name not in by_name]:
        raise UserError(
            "prepared fragments", f"lack the scenes {', '.join(missing)}", "Prepare them, or drop the names"
        )
    return [by_name[name] for name in wanted]


def _read_names(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "Give a text file with a scene's name a line") from error
