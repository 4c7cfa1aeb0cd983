"""Images at a network's resolution as NeuralRecon makes them."""

import cv2
import numpy as np
import torch

from toolbox.datasets.loading import LoadedView, load_view
from toolbox.geometry import crop_intrinsics, resample_depth, scale_intrinsics
from toolbox.structures import View

_SCANNET_ROWS, _PADDING = 968, 2


def load_view_stretched(view: View, size: tuple[int, int] | None = None, with_depth: bool = False) -> LoadedView:
    """As ``load_view``, but the image is stretched to ``size``, and nothing cropped.

    ScanNet's images (968 rows) first get two black rows above and below, which makes them 4:3. Intrinsics are scaled
    without the half pixel by which pixel centres move. The published weights were trained with both.
    """
    loaded = load_view(view)
    image, intrinsics = loaded.image.numpy().transpose(1, 2, 0), loaded.intrinsics
    if image.shape[0] == _SCANNET_ROWS:
        image = np.pad(image, ((_PADDING, _PADDING), (0, 0), (0, 0)))
        intrinsics = crop_intrinsics(intrinsics, 0, -_PADDING)
    if size is not None:
        height, width = image.shape[:2]
        intrinsics = scale_intrinsics(intrinsics, size[1] / width, size[0] / height, half_pixel=False)
        interpolation = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
        image = cv2.resize(image, size[::-1], interpolation=interpolation)
    depth = None
    stored = view.stored_depth() if with_depth else None
    if stored is not None:
        values, depth_intrinsics = (torch.from_numpy(array)[None] for array in stored)
        depth = resample_depth(values, depth_intrinsics.double(), intrinsics[None], image.shape[:2])[0]
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return LoadedView(pixels, intrinsics, loaded.world_to_cam, depth)
