"""Reference views with their sources, from any importer's scenes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from toolbox.errors import UserError
from toolbox.registry import DATASETS, TRANSFORMS
from toolbox.structures import Scene

from .building import Config, build_scenes
from .depth_ranges import depth_range_for
from .loading import load_view, working_size
from .pair_lists import check_pairs, read_pairs
from .view_selection import BEST_ANGLE, ViewSelector


@DATASETS.register_module()
class MVSDataset(Dataset):
    """One sample per reference view: the reference and its best sources.

    Args:
        scenes: importer configs (from SCENES), one or a list; or built scenes.
        num_sources: source views per sample. Views with fewer are left out, counted and named in the log.
        size: (height, width) of the images; None keeps the stored one (all views of a scene must then agree).
        max_size: instead of ``size``: the scenes' most common image size, its longer side reduced to this.
        pairs: file of the references and the sources of each, best first, for every scene: MVSNet's ``pair.txt``, or
            JSON ``{reference id: [source ids]}`` (or that under the key "pairs"). Views that it does not list are no
            references. None: see ``ViewSelector``.
        best_angle, spread: of the sources, see ``ViewSelector``.
        read_depth: give the reference's depth where the scene has it; False never opens a depth file.
        depth_range: (near, far) for all views; None takes each view's.
        every: use every n-th of the references.
        extra_sources: choose ``num_sources`` at random among so many more of the best ones (0: always the best).
        transforms: from TRANSFORMS, in order.

    Raises:
        UserError: both sizes are given, ``max_size`` gives scenes different sizes, a pair list is malformed or names a
            view that a scene lacks, or no view has enough sources.
    """

    metainfo: ClassVar[dict] = {}  # mmengine's visualizer asks for it

    def __init__(
        self,
        scenes: Config | Scene | Sequence[Config | Scene],
        num_sources: int = 2,
        size: tuple[int, int] | None = None,
        read_depth: bool = True,
        depth_range: tuple[float, float] | None = None,
        every: int = 1,
        extra_sources: int = 0,
        transforms: Sequence[Config | Callable] = (),
        max_size: int | None = None,
        pairs: str | Path | None = None,
        best_angle: float = BEST_ANGLE,
        spread: float = 0.0,
    ):
        self.scenes = build_scenes(scenes)
        self.num_sources, self.extra_sources = num_sources, extra_sources
        self.size = _size_of(self.scenes, size, max_size)
        self.read_depth, self.depth_range = read_depth, depth_range
        self.transforms = [t if callable(t) else TRANSFORMS.build(t) for t in transforms]
        self.pairs = read_pairs(pairs) if pairs is not None else None
        if self.pairs is not None:
            check_pairs(self.pairs, self.scenes, pairs)
        # (scene, reference id, candidate source ids)
        self.references = self._find_references(every, best_angle, spread)

    def _find_references(self, every: int, best_angle: float, spread: float) -> list[tuple[Scene, int, list[int]]]:
        """The references with enough sources; the others are named in the log."""
        most = self.num_sources + self.extra_sources
        found, too_few = [], []
        for scene in self.scenes:
            selector = ViewSelector(scene, self.depth_range, best_angle, spread)
            listed = [view.id for view in scene.views] if self.pairs is None else list(self.pairs)
            for view_id in listed[::every]:
                sources = selector.sources(view_id, most) if self.pairs is None else self.pairs[view_id][:most]
                if len(sources) < self.num_sources:
                    too_few.append(f"{scene.name}/{view_id} ({len(sources)})")
                else:
                    found.append((scene, view_id, sources))
        if too_few:
            print_log(
                f"{len(too_few)} views have fewer than {self.num_sources} sources and are no references: "
                + ", ".join(too_few),
                logger="current",
            )
        if not found:
            raise UserError(
                ", ".join(scene.name for scene in self.scenes) or "scenes",
                f"no view has {self.num_sources} source views",
                "Lower num_sources, or give more views with overlap",
            )
        return found

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample as ``MultiViewPreprocessor`` takes it; view 0 is the reference.

        Raises:
            UserError: a file cannot be read, or images of two sizes meet.
        """
        scene, reference, candidates = self.references[index]
        sources = candidates[: self.num_sources]
        if self.extra_sources:
            picked = torch.randperm(len(candidates))[: self.num_sources].sort().values
            sources = [candidates[i] for i in picked]
        views = [
            load_view(scene.view(view_id), self.size, with_depth=self.read_depth and k == 0)
            for k, view_id in enumerate((reference, *sources))
        ]
        shapes = {tuple(view.image.shape) for view in views}
        if len(shapes) > 1:
            sizes = ", ".join(f"{h} x {w}" for _, h, w in sorted(shapes))
            raise UserError(
                f"scene {scene.name}",
                f"has images of several sizes ({sizes})",
                "Set the data set's size=(height, width)",
            )
        sample = {
            "images": torch.stack([view.image for view in views]),
            "intrinsics": torch.stack([view.intrinsics for view in views]),
            "world_to_cam": torch.stack([view.world_to_cam for view in views]),
            "depth_range": torch.tensor(depth_range_for(scene, reference, self.depth_range), dtype=torch.float64),
            "depth": views[0].depth,
            "meta": {
                "scene": scene.name,
                "view_id": reference,
                "source_ids": torch.tensor(sources),
                "unit": scene.unit,
            },
        }
        for transform in self.transforms:
            sample = transform(sample)
        return sample


def _size_of(scenes: list[Scene], size: Sequence[int] | None, max_size: int | None) -> tuple[int, int] | None:
    """(height, width) of all samples; None for the images' own."""
    if max_size is None:
        return None if size is None else tuple(size)
    if size is not None:
        raise UserError("MVSDataset", f"has both size={tuple(size)} and max_size={max_size}", "Give one of them")
    sizes = {scene.name: working_size(scene, max_size) for scene in scenes}
    if len(set(sizes.values())) > 1:
        listing = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
        raise UserError(
            f"MVSDataset, max_size={max_size}",
            f"gives the scenes different sizes (height x width: {listing})",
            "Give one size for all, size=(height, width); images are cropped to it around the middle",
        )
    return next(iter(sizes.values()), None)
