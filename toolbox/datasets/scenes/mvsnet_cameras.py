"""Camera files of the MVSNet family as views need them: of the image's resolution, with a depth range."""

import math
from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.io import CamFile

from .assembly import check_depth_range

DEFAULT_NUM_DEPTHS = 192
# Where the principal point may lie for a camera to be taken as one of that resolution, in image sizes.
_CENTRAL = (0.38, 0.62)
# MVSNet's training images are DTU's (1600 x 1200) halved, then cropped to the middle 640 x 512.
_CROP_SIZE, _CROP_CORNER = (512, 640), (80, 44)


def depth_range_of(cam: CamFile, path: Path, num_depths: int = DEFAULT_NUM_DEPTHS) -> tuple[float, float] | None:
    """(near, far) of a camera file; None where it has no depth line.

    far = depth_min + interval (num - 1) where the file gives the number of planes; else its fourth value; else
    depth_min + ``num_depths`` interval.

    Raises:
        UserError: the range is not finite, or near >= far.
    """
    if cam.depth_min is None:
        return None
    if cam.depth_interval is None:
        raise UserError(path, "has a depth line of one number", "Write 'depth_min interval [num_depths [depth_max]]'")
    if cam.num_depths is not None and cam.num_depths > 1:
        far = cam.depth_min + cam.depth_interval * (cam.num_depths - 1)
    elif cam.depth_max is not None:
        far = cam.depth_max
    else:
        far = cam.depth_min + num_depths * cam.depth_interval
    return check_depth_range(cam.depth_min, far, path)


def _is_central(intrinsics: np.ndarray, size: tuple[int, int]) -> bool:
    low, high = _CENTRAL
    return bool(low < intrinsics[0, 2] / size[1] < high and low < intrinsics[1, 2] / size[0] < high)


def intrinsics_for(size: tuple[int, int], cams: list[CamFile], image: Path, cam_paths: list[Path]) -> np.ndarray:
    """Intrinsics of a (height, width) grid from camera files that may be of other resolutions.

    The releases disagree: full images with full cameras; 640 x 512 images with cameras of the 160 x 128 depth maps;
    everything at 160 x 128. The principal point tells: it lies near the middle of the resolution it is for. A file
    whose principal point is in the grid's middle is taken as it is. Else a file is scaled by the power of two that
    brings it there: up by plain multiplication (quarter-resolution files were made by plain division, their pixel
    (x, y) is pixel (4x, 4y) of the image); down by the half-pixel rule of resized images. Last, DTU's full cameras are
    taken to MVSNet's 640 x 512 crop.

    Args:
        cams: the candidate files of one view, preferred ones first.
        image, cam_paths: named in errors.

    Raises:
        UserError: no file fits.
    """
    for cam in cams:
        if _is_central(cam.intrinsics, size):
            return cam.intrinsics
    for cam in cams:
        centre = cam.intrinsics[:2, 2]
        if (centre <= 0).any() or not np.isfinite(centre).all():
            continue
        ratio = math.sqrt(size[1] / (2 * centre[0]) * size[0] / (2 * centre[1]))
        scaled = _scaled(cam.intrinsics, 2.0 ** round(math.log2(ratio)))
        if _is_central(scaled, size):
            return scaled
    if size == _CROP_SIZE:
        for cam in cams:
            cropped = _scaled(cam.intrinsics, 0.5)
            cropped[:2, 2] -= _CROP_CORNER
            if _is_central(cropped, size):
                return cropped
    principal = ", ".join(f"({cam.intrinsics[0, 2]:.1f}, {cam.intrinsics[1, 2]:.1f})" for cam in cams)
    raise UserError(
        image,
        f"is {size[1]} x {size[0]} pixels, which fits no camera of {', '.join(map(str, cam_paths))} (principal points "
        f"{principal})",
        "Scale the camera's intrinsics to the image, or restore the image",
    )


def _scaled(intrinsics: np.ndarray, scale: float) -> np.ndarray:
    scaled = intrinsics.copy()
    scaled[:2] *= scale
    if scale < 1:
        scaled[:2, 2] += 0.5 * scale - 0.5
    return scaled
