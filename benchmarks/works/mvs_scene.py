"""Depth of every view of a scene: images on disk -> depth and confidence on disk."""

import shutil
from typing import Any

import numpy as np
import torch

from benchmarks.disk import SceneOnDisk
from benchmarks.mvs_input import official_network
from benchmarks.plain_mvs import PlainMVS
from benchmarks.scenes import table_views
from benchmarks.work import Run, Work
from toolbox.io import read_image, read_pfm, write_pfm
from toolbox.pipelines.depth_inference import DepthFiles, SceneDepth, infer_scene_depth


class MVSScene(Work):
    """CVP-MVSNet at the paper's size, published numerics; each view's features serve for several references.

    Attributes:
        disk: the scene and its folder.
        sources: for each view its source views.
        model: the network with its weights.
    """

    sizes = {
        "tiny": {"views": 3, "height": 48, "width": 64, "sources": 2, "levels": 2},
        "small": {"views": 5, "height": 96, "width": 128, "sources": 4, "levels": 3},
        "user": {"views": 9, "height": 480, "width": 640, "sources": 4, "levels": 3},
        "user_bfloat16": {"views": 9, "height": 480, "width": 640, "sources": 4, "levels": 3, "bfloat16": 1},
    }
    reference_name = "plain PyTorch, features for each reference"
    growth = {"views": {n: {"views": n} for n in (5, 10, 20)}}

    def __init__(self, device: str, views: int, height: int, width: int, sources: int, levels: int, bfloat16: int = 0):
        self.device, self.levels, self.size, self.bfloat16 = device, levels, (height, width), bool(bfloat16)
        seen = table_views(views, height, width)
        self.disk = SceneOnDisk(seen, 0.05, "mm", (400.0, 1000.0))
        self.sources = seen.nearest(sources)
        self.model = official_network(device, levels)

    def ours(self) -> Run:
        """``toolbox.pipelines.infer_scene_depth``."""
        out = self.disk.folder / "ours"
        settings = SceneDepth(self.size, self.levels, len(self.sources[0]), bfloat16=self.bfloat16)

        def run() -> dict[str, Any]:
            shutil.rmtree(out, ignore_errors=True)
            infer_scene_depth(self.disk.scene, self.model, self.sources, out, settings)
            return {"depth": np.stack([read_pfm(DepthFiles(out, i).depth) for i in self.sources])}

        return run

    def reference(self) -> Run:
        """``PlainMVS`` for one reference after the other, in float32."""
        plain, views = PlainMVS(self.model.state_dict(), self.levels), self.disk.scene.views
        out = self.disk.folder / "reference"
        out.mkdir(exist_ok=True)

        def run() -> dict[str, Any]:
            found = []
            for reference, sources in self.sources.items():
                chosen = [views[i] for i in (reference, *sources)]
                images = np.stack([read_image(view.image_path) for view in chosen]).transpose(0, 3, 1, 2)
                intrinsics = torch.from_numpy(np.stack([view.intrinsics for view in chosen])).float()
                poses = torch.from_numpy(np.stack([view.world_to_cam for view in chosen]))
                depth_range = torch.tensor(views[reference].depth_range)
                inputs = (torch.from_numpy(images).float() / 255, intrinsics, poses, depth_range)
                prediction = plain(*(part.to(self.device) for part in inputs))
                for name, values in prediction.items():
                    write_pfm(out / f"{reference}_{name}.pfm", values.cpu().numpy())
                found.append(prediction["depth"])
            return {"depth": torch.stack(found)}

        return run
