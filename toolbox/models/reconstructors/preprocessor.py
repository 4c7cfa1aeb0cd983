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

    def forward(self, data: list[dict[str, Any]] | dict[str, Any], training: bool = False) -> dict[str, MultiViewBatch]:
        """A list of samples (mmengine's pseudo_collate keeps it a dict of lists) -> {'batch': MultiViewBatch}."""
        if isinstance(data, dict):
            data = unzip(data)

        def stack(key: str) -> torch.Tensor:
            return torch.stack([torch.as_tensor(sample[key]) for sample in data]).to(self.device, non_blocking=True)

        images = stack("images")
        batch = MultiViewBatch(
            images=images.float() / 255 if images.dtype == torch.uint8 else images.float(),
            intrinsics=stack("intrinsics").float(),
            world_to_cam=stack("world_to_cam").double(),
            depth_range=stack("depth_range").float(),
            depth=self._depth(data, images.shape[-2:]),
            meta=[sample.get("meta", {}) for sample in data],
        )
        return {"batch": batch}

    def _depth(self, data: list[dict[str, Any]], size: tuple[int, int]) -> torch.Tensor | None:
        """Depth of the samples, all unknown (0) for a sample without; None where no sample has any."""
        depths = [sample.get("depth") for sample in data]
        if all(depth is None for depth in depths):
            return None
        unknown = torch.zeros(size)
        return torch.stack([unknown if d is None else torch.as_tensor(d).float() for d in depths]).to(self.device)


def unzip(collated: dict[Any, Any]) -> list[dict[Any, Any]]:
    """Undo pseudo_collate, which turns a list of (nested) dicts into a (nested) dict of lists."""
    columns = {key: unzip(value) if isinstance(value, dict) else value for key, value in collated.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
