"""Superpixels of the views, for losses that take them for planes."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int64, UInt8
from torch import Tensor

from toolbox.datasets.scenes.cache import cache_folder
from toolbox.errors import UserError
from toolbox.io import atomic_path
from toolbox.registry import TRANSFORMS


def felzenszwalb_segments(
    image: UInt8[Tensor, "3 h w"], levels: int = 3, scale: float = 100.0, sigma: float = 0.5, min_size: int = 50
) -> list[Int64[Tensor, "_ _"]]:
    """Segments (numbered from 0) of an image at 1, 1/2, 1/4 ... of its resolution, each resized bilinearly.

    Felzenszwalb, Huttenlocher: Efficient graph-based image segmentation (IJCV 2004).

    Args:
        scale: the larger, the larger the segments.
        sigma: of the smoothing, in pixels.
        min_size: smallest segment in pixels; at every level alike.
    """
    from skimage.segmentation import felzenszwalb  # takes half a second to import

    colours = image[None].float()
    segments = []
    for level in range(levels):
        size = (image.shape[-2] >> level, image.shape[-1] >> level)
        resized = colours if level == 0 else F.interpolate(colours, size=size, mode="bilinear", align_corners=False)
        pixels = resized[0].permute(1, 2, 0).double().numpy() / 255
        labels = felzenszwalb(pixels, scale=scale, sigma=sigma, min_size=min_size)
        segments.append(torch.from_numpy(labels.astype(np.int64)))
    return segments


@TRANSFORMS.register_module()
class Superpixels:
    """Adds ``segments``, {level: (V, h, w)}, computed once per image and kept on disk.

    Each image has a file, named by a fingerprint of its pixels; settings have a folder each. Put it before transforms
    that change the images at random.

    Args:
        levels, scale, sigma, min_size: see ``felzenszwalb_segments``.
        cache: folder to keep them in; None is the environment variable ``TOOLBOX_CACHE``, else
            ``~/.cache/selfrecon-toolbox``.
    """

    def __init__(
        self,
        levels: int = 3,
        scale: float = 100.0,
        sigma: float = 0.5,
        min_size: int = 50,
        cache: str | Path | None = None,
    ):
        self.settings = {"levels": levels, "scale": scale, "sigma": sigma, "min_size": min_size}
        self.cache = cache

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """The sample with ``segments`` of its images (V, 3, H, W) uint8.

        Raises:
            UserError: the images are no 8-bit ones any more, or the cache cannot be written.
        """
        images = sample["images"]
        if images.dtype != torch.uint8:
            raise UserError(
                "Superpixels",
                f"gets images of {images.dtype}, which another transform changed",
                "Put it first among the data set's transforms",
            )
        of_views = [self._segments(image) for image in images]
        levels = range(self.settings["levels"])
        return {**sample, "segments": {level: torch.stack([view[level] for view in of_views]) for level in levels}}

    def _segments(self, image: UInt8[Tensor, "3 h w"]) -> list[Int64[Tensor, "_ _"]]:
        path = self._path(image)
        kept = _read(path, self.settings["levels"])
        if kept is not None:
            return kept
        segments = felzenszwalb_segments(image, **self.settings)
        try:
            with atomic_path(path) as temporary:
                np.savez_compressed(
                    temporary, **{f"level_{i}": s.numpy().astype(np.int32) for i, s in enumerate(segments)}
                )
        except OSError as error:
            raise UserError(
                path, f"cannot be written ({error.strerror})", "Set cache to a folder that can be"
            ) from error
        return segments

    def _path(self, image: UInt8[Tensor, "3 h w"]) -> Path:
        digest = hashlib.sha256(f"{tuple(image.shape)}".encode() + image.contiguous().numpy().tobytes()).hexdigest()
        folder = cache_folder(
            "superpixels", [], self.settings, self.cache, about="superpixels by fingerprint of the image"
        )
        return folder / digest[:2] / f"{digest[2:34]}.npz"


def _read(path: Path, levels: int) -> list[Int64[Tensor, "_ _"]] | None:
    """What is kept; None if there is nothing, or a damaged file, which is then made anew."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return [torch.from_numpy(kept[f"level_{level}"].astype(np.int64)) for level in range(levels)]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
