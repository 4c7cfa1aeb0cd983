"""Pictures of predicted depth while training and testing."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from toolbox.io import write_image
from toolbox.registry import HOOKS
from toolbox.visualization import confidence_to_rgb, contact_sheet, depth_to_rgb, error_to_rgb


@HOOKS.register_module()
class DepthPictureHook(Hook):
    """Write a contact sheet per sample: reference image, depth, confidence; ground truth, error, coarsest level.

    Those of a validation go to a folder of its training iteration, so that progress shows side by side; those of a test
    go to ``out_dir`` itself. Depths of one sheet share their colours.

    Args:
        out_dir: folder; relative to the work dir.
        max_pictures: the first so many samples of each validation or test, by the first process; None writes all.
        max_error: relative error of the brightest colour.
    """

    priority = "LOW"

    def __init__(self, out_dir: str = "pictures", max_pictures: int | None = 4, max_error: float = 0.1):
        self.out_dir, self.max_pictures, self.max_error = out_dir, max_pictures, max_error
        self.written = 0

    def before_val_epoch(self, runner: Runner) -> None:
        """Start counting anew."""
        self.written = 0

    before_test_epoch = before_val_epoch

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: Sequence[dict] | None = None
    ) -> None:
        """Write the samples of a validation batch."""
        self._write(Path(runner.work_dir) / self.out_dir / f"iter_{runner.iter:07d}", outputs or [])

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: Sequence[dict] | None = None
    ) -> None:
        """Write the samples of a test batch."""
        self._write(Path(runner.work_dir) / self.out_dir, outputs or [])

    def _write(self, folder: Path, samples: Sequence[dict]) -> None:
        if self.max_pictures is not None:
            samples = samples[: self.max_pictures - self.written] if is_main_process() else []
        for sample in samples:
            meta = sample.get("meta") or {}
            name = f"{meta.get('scene', 'sample')}_{meta.get('view_id', self.written)}"
            write_image(folder / (re.sub(r"[^\w.-]+", "_", name) + ".png"), depth_sheet(sample, self.max_error))
            self.written += 1


def depth_sheet(sample: dict, max_error: float = 0.1) -> np.ndarray:
    """The contact sheet of one prediction.

    Args:
        sample: a dict of ``predict`` mode; 'image', 'gt_depth', 'confidence' and 'depth_levels' may be absent.
        max_error: relative error of the brightest colour.

    Returns:
        RGB uint8 (H, W, 3).
    """
    depth, truth = _array(sample["depth"]), sample.get("gt_depth")
    near, far = (float(limit) for limit in sample["depth_range"])
    pictures = []
    if sample.get("image") is not None:
        image = _array(sample["image"]).transpose(1, 2, 0)
        pictures.append(("reference", np.rint(image.clip(0, 1) * 255).astype(np.uint8)))
    pictures.append((f"depth, {near:.4g} to {far:.4g}", depth_to_rgb(depth, (near, far))))
    if sample.get("confidence") is not None:
        pictures.append(("confidence", confidence_to_rgb(_array(sample["confidence"]))))
    if truth is not None:
        truth = _array(truth)
        known = (truth > 0) & (depth > 0)
        error = np.full_like(depth, np.nan)
        error[known] = np.abs(depth - truth)[known] / truth[known]
        pictures.append(("ground truth", depth_to_rgb(truth, (near, far))))
        pictures.append((f"relative error, to {max_error:.0%}", error_to_rgb(error, max_error)))
    if len(sample.get("depth_levels") or []) > 1:
        coarse = _array(sample["depth_levels"][-1])
        pictures.append((f"coarsest level, {coarse.shape[1]} x {coarse.shape[0]}", depth_to_rgb(coarse, (near, far))))
    return contact_sheet(pictures, columns=3, tile_width=max(depth.shape[1], 256))


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
