"""Collated fragments -> FragmentBatch on the model's device."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from toolbox.errors import UserError
from toolbox.registry import MODELS
from toolbox.structures import FragmentBatch

from .preprocessor import unzip


@MODELS.register_module()
class FragmentPreprocessor(BaseDataPreprocessor):
    """Stacks the samples of a ``FragmentDataset``, with superpixels where a transform adds them, into a batch."""

    def forward(self, data: list[dict[str, Any]] | dict[str, Any], training: bool = False) -> dict[str, FragmentBatch]:
        """A list of samples (mmengine's pseudo_collate keeps it a dict of lists) -> {'batch': FragmentBatch}.

        Raises:
            UserError: samples with images of several sizes or numbers of views.
        """
        samples = unzip(data) if isinstance(data, dict) else data

        def stack(key: str) -> Tensor | None:
            if any(sample.get(key) is None for sample in samples):
                return None
            return self._stack([torch.as_tensor(sample[key]) for sample in samples], key)

        images = stack("images")
        batch = FragmentBatch(
            images=images.float() / 255 if images.dtype == torch.uint8 else images.float(),
            intrinsics=stack("intrinsics").float(),
            world_to_cam=stack("world_to_cam").float(),
            origin=stack("window_origin").float(),
            world_to_aligned_camera=stack("world_to_aligned_camera").float(),
            volume_to_scene=None if (back := stack("volume_to_scene")) is None else back.float(),
            tsdf=self._levels(samples, "tsdf", torch.float32),
            occupancy=self._levels(samples, "occupancy", torch.bool),
            segments=self._levels(samples, "segments", torch.int64),
            depth=None if (depth := stack("depth")) is None else depth.float(),
            meta=[sample.get("meta", {}) for sample in samples],
        )
        return {"batch": batch}

    def _stack(self, tensors: list[Tensor], what: str) -> Tensor:
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) > 1:
            raise UserError(
                f"a batch of fragments: {what}",
                f"has several shapes: {sorted(shapes)}",
                "Set the data set's size=(height, width), and one number of views",
            )
        return torch.stack(tensors).to(self.device, non_blocking=True)

    def _levels(self, samples: list[dict[str, Any]], key: str, dtype: torch.dtype) -> list[Tensor] | None:
        """What samples have at every level, finest first; None where a sample has none."""
        if any(sample.get(key) is None for sample in samples):
            return None
        levels = sorted(samples[0][key])
        return [self._stack([sample[key][level] for sample in samples], key).to(dtype) for level in levels]
