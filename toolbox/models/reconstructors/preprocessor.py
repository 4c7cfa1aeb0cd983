"""Collated samples -> MultiViewBatch on the model's device."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from toolbox.registry import MODELS
from toolbox.structures import MultiViewBatch


@MODELS.register_module()
class MultiViewPreprocessor(BaseDataPreprocessor):
    """Stacks the samples of a data loader into a batch.

    A sample is a dict with images (V, 3, H, W) uint8 or float in [0, 1], intrinsics (V, 3, 3), world_to_cam (V, 4, 4),
    depth_range (2,), optionally depth (H, W), and meta (a dict).
    """

    def forward(self, data: list[dict[str, Any]], training: bool = False) -> dict[str, MultiViewBatch]:
        """A list of samples (mmengine's pseudo_collate keeps it a dict of lists) -> {'batch': MultiViewBatch}."""
        if isinstance(data, dict):
            data = [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)]

        def stack(key: str) -> torch.Tensor:
            return torch.stack([torch.as_tensor(sample[key]) for sample in data]).to(self.device, non_blocking=True)

        images = stack("images")
        batch = MultiViewBatch(
            images=images.float() / 255 if images.dtype == torch.uint8 else images.float(),
            intrinsics=stack("intrinsics").float(),
            world_to_cam=stack("world_to_cam").float(),
            depth_range=stack("depth_range").float(),
            depth=stack("depth").float() if data[0].get("depth") is not None else None,
            meta=[sample.get("meta", {}) for sample in data],
        )
        return {"batch": batch}
