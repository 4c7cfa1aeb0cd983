"""Reference views with their sources, from any importer's scenes."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from toolbox.errors import UserError
from toolbox.registry import DATASETS, TRANSFORMS
from toolbox.structures import Scene

from .building import Config, build_scenes
from .depth_ranges import depth_range_for
from .loading import load_view
from .view_selection import ViewSelector


@DATASETS.register_module()
class MVSDataset(Dataset):
    """One sample per reference view: the reference and its best sources.

    Args:
        scenes: importer configs (from SCENES), one or a list; or built scenes.
        num_sources: source views per sample. Views with fewer are left out, counted and named in the log.
        size: (height, width) of the images; None keeps the stored one (all views of a scene must then agree).
        read_depth: give the reference's depth where the scene has it; False never opens a depth file.
        depth_range: (near, far) for all views; None takes each view's.
        every: use every n-th view as a reference.
        extra_sources: choose ``num_sources`` at random among so many more of the best ones (0: always the best).
        transforms: from TRANSFORMS, in order.
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
    ):
        self.scenes = build_scenes(scenes)
        self.num_sources, self.extra_sources = num_sources, extra_sources
        self.size = tuple(size) if size is not None else None
        self.read_depth, self.depth_range = read_depth, depth_range
        self.transforms = [t if callable(t) else TRANSFORMS.build(t) for t in transforms]
        # (scene, reference id, candidate source ids)
        self.references: list[tuple[Scene, int, list[int]]] = []
        too_few: list[str] = []
        for scene in self.scenes:
            selector = ViewSelector(scene, depth_range)
            for view in scene.views[::every]:
                sources = selector.sources(view.id, num_sources + extra_sources)
                if len(sources) < num_sources:
                    too_few.append(f"{scene.name}/{view.id} ({len(sources)})")
                else:
                    self.references.append((scene, view.id, sources))
        if too_few:
            print_log(
                f"{len(too_few)} views have fewer than {num_sources} sources and are no references: "
                + ", ".join(too_few),
                logger="current",
            )
        if not self.references:
            raise UserError(
                ", ".join(scene.name for scene in self.scenes) or "scenes",
                f"no view has {num_sources} source views",
                "Lower num_sources, or give more views with overlap",
            )

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
