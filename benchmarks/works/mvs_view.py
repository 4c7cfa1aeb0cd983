"""Depth of one reference, from images to depth and confidence."""

import contextlib
from typing import Any

import torch

from benchmarks.mvs_input import official_network, stereo_input
from benchmarks.plain_mvs import PlainMVS
from benchmarks.work import Cost, Run, Work
from toolbox.apis import infer_depth


class MVSView(Work):
    """CVP-MVSNet at the paper's size, published numerics.

    Attributes:
        inputs: ``StereoInput``; view 0 is the reference.
        levels: of the pyramid.
        model: the network with its weights.
    """

    sizes = {
        "tiny": {"height": 48, "width": 64, "sources": 2, "levels": 2},
        "small": {"height": 128, "width": 160, "sources": 4, "levels": 3},
        "user": {"height": 480, "width": 640, "sources": 4, "levels": 3},
        "user_bfloat16": {"height": 480, "width": 640, "sources": 4, "levels": 3, "bfloat16": 1},
        "dtu": {"height": 1184, "width": 1600, "sources": 4, "levels": 5},
        "dtu_bfloat16": {"height": 1184, "width": 1600, "sources": 4, "levels": 5, "bfloat16": 1},
    }
    reference_name = "plain PyTorch"
    growth = {
        "pixels": {h * w: {"height": h, "width": w} for h, w in ((120, 160), (184, 240), (240, 320), (368, 480))},
        "sources": {n: {"sources": n} for n in (2, 4, 8, 16)},
        "levels": {n: {"levels": n, "height": 256, "width": 384} for n in (2, 3, 4, 5)},
    }

    def __init__(self, device: str, height: int, width: int, sources: int, levels: int, bfloat16: int = 0):
        self.device, self.levels, self.bfloat16 = device, levels, bool(bfloat16)
        self.inputs = stereo_input(sources + 1, height, width, device)
        self.model = official_network(device, levels)

    def ours(self) -> Run:
        """``toolbox.apis.infer_depth``."""
        views = self.inputs
        batch = [part[None] for part in (views.images, views.intrinsics, views.world_to_cam, views.depth_range)]
        half = torch.autocast(torch.device(self.device).type, torch.bfloat16) if self.bfloat16 else None

        def run() -> dict[str, Any]:
            with half or contextlib.nullcontext():
                prediction = infer_depth(self.model, *batch, num_levels=self.levels)
            return {"depth": prediction.depths[0][0], "confidence": prediction.confidence[0]}

        return run

    def reference(self) -> Run:
        """``PlainMVS``, in float32."""
        views, plain = self.inputs, PlainMVS(self.model.state_dict(), self.levels)
        return lambda: plain(views.images, views.intrinsics, views.world_to_cam, views.depth_range)

    def cost(self) -> Cost:
        """Operations of the convolutions; weights, features and volumes read and written once by each convolution."""
        return convolution_cost(self.model, self.inputs.images.shape, self.levels, len(self.inputs.images))


def convolution_cost(model: Any, shape: tuple[int, ...], levels: int, features_of: int) -> Cost:
    """Of the features of some views and of the regularizer at every level of one reference."""
    height, width = shape[-2:]
    flops, moved = 0.0, 0.0
    for level in range(levels):
        pixels = height * width / 4**level
        voxels = pixels * (48 if level == levels - 1 else 8)
        for conv in (block.conv for block in model.backbone.convs):
            flops += 2 * features_of * pixels * conv.weight.numel()
            moved += 4 * features_of * pixels * (conv.in_channels + conv.out_channels)
        for name, block in model.head.regularizer.named_children():
            conv = getattr(block, "conv", block)
            full = name in ("conv0", "conv0a", "prob0")
            # A transposed convolution's weights act on each voxel of its input, another one's on its output.
            flops += 2 * voxels / (1 if full else 8) * conv.weight.numel()
            moved += (
                4
                * voxels
                * (
                    conv.in_channels / (1 if full or name == "conv1" else 8)
                    + conv.out_channels / (1 if full or name == "conv6" else 8)
                )
            )
    return Cost(flops, moved)
