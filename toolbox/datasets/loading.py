"""The resolution that a network works at: a view's pixels at it, and the intrinsics that belong to them."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from toolbox.errors import UserError
from toolbox.geometry import crop_intrinsics, resample_depth, scale_intrinsics
from toolbox.structures import Scene, View


@dataclass
class LoadedView:
    """Pixels and camera of a view at some resolution.

    Attributes:
        image: RGB.
        intrinsics: of the image, float64.
        world_to_cam: float64.
        depth: in the scene's unit, 0 where unknown; or None.
    """

    image: UInt8[Tensor, "3 h w"]
    intrinsics: Float[Tensor, "3 3"]
    world_to_cam: Float[Tensor, "4 4"]
    depth: Float[Tensor, "h w"] | None = None


def load_view(view: View, size: tuple[int, int] | None = None, with_depth: bool = False) -> LoadedView:
    """Read a view, resized to cover ``size`` (height, width) with its aspect kept, and cropped around the middle.

    Args:
        size: None keeps the stored resolution.
        with_depth: read its depth too, where it has one; the depth takes the nearest pixel.

    Raises:
        UserError: the image or the depth cannot be read, or is not of the size that the view states.
    """
    image = view.image()
    if image.shape[:2] != tuple(view.size):
        raise UserError(
            view.image_path,
            f"is {image.shape[0]} x {image.shape[1]} pixels where its camera is for {view.size[0]} x {view.size[1]}",
            "Resize the image, or give the intrinsics of its size",
        )
    to_intrinsics = working_intrinsics(view, size)
    if size is not None and tuple(size) != image.shape[:2]:
        image = _cover(image, size)
    stored = view.stored_depth() if with_depth else None
    depth = None
    if stored is not None:
        values, depth_intrinsics = (torch.from_numpy(array)[None] for array in stored)
        depth = resample_depth(values, depth_intrinsics.double(), to_intrinsics[None], image.shape[:2])[0]
    return LoadedView(
        image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        intrinsics=to_intrinsics,
        world_to_cam=torch.from_numpy(view.world_to_cam).double(),
        depth=depth,
    )


def working_size(scene: Scene, max_size: int | None) -> tuple[int, int]:
    """(height, width) at which all views are seen: the most common one, reduced to ``max_size`` on the longer side."""
    sizes = [tuple(view.size) for view in scene.views]
    height, width = max(set(sizes), key=lambda s: (sizes.count(s), s))
    scale = min(1.0, max_size / max(height, width)) if max_size else 1.0
    return round(height * scale), round(width * scale)


def working_intrinsics(view: View, size: tuple[int, int] | None = None) -> Float[Tensor, "3 3"]:
    """The intrinsics that ``load_view`` gives; the image is not read."""
    intrinsics = torch.from_numpy(view.intrinsics).double()
    if size is None or tuple(size) == tuple(view.size):
        return intrinsics
    (height, width), (top, left) = _covering(view.size, size)
    scaled = scale_intrinsics(intrinsics, width / view.size[1], height / view.size[0])
    return crop_intrinsics(scaled, left, top)


def _covering(stored: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) to resize to, and the (top, left) corner of the crop."""
    scale = max(size[0] / stored[0], size[1] / stored[1])
    height, width = (max(round(length * scale), wanted) for length, wanted in zip(stored, size, strict=True))
    return (height, width), ((height - size[0]) // 2, (width - size[1]) // 2)


def _cover(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    stored = image.shape[:2]
    (height, width), (top, left) = _covering(stored, size)
    reduced = max(size[0] / stored[0], size[1] / stored[1]) < 1
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if reduced else cv2.INTER_LINEAR)
    return image[top : top + size[0], left : left + size[1]]
