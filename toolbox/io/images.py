"""Images and 16-bit depth images, through OpenCV."""

from pathlib import Path

import cv2
import numpy as np

from toolbox.errors import UserError

from .atomic import atomic_path

_REMEDY = "Restore the file, or remove it so that the view is left out"


def _decode(path: str | Path, flags: int) -> np.ndarray:
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "does not exist", "Check the path")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise UserError(path, "cannot be decoded as an image", _REMEDY)
    return image


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as RGB uint8 (H, W, 3); EXIF orientation is ignored (cameras describe the stored pixels).

    Raises:
        UserError: the file is missing or cannot be decoded.
    """
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of the stored image.

    Raises:
        UserError: the file is missing or cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError as error:
        raise UserError(path, "does not exist", "Check the path") from error
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(path, "cannot be decoded as an image", _REMEDY) from error


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write RGB (H, W, 3) or grey (H, W) uint8; the format follows the suffix; atomically.

    Raises:
        UserError: the suffix names no image format, or the file cannot be written.
    """
    with atomic_path(path) as temporary:
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
        try:
            written = cv2.imwrite(str(temporary), pixels)
        except cv2.error:  # no format of that suffix
            written = False
        if not written:
            raise UserError(path, "cannot be written as an image", "Check the folder and the suffix")


def read_depth_png(path: str | Path) -> np.ndarray:
    """Read a 16-bit depth image as uint16 (H, W), raw values (the caller knows their unit and what is invalid).

    Raises:
        UserError: the file is missing, cannot be decoded, or is not a one-channel 16-bit image.
    """
    depth = _decode(path, cv2.IMREAD_UNCHANGED)
    if depth.ndim != 2 or depth.dtype != np.uint16:
        raise UserError(path, f"is no 16-bit depth image (it is {depth.dtype} {depth.shape})", _REMEDY)
    return depth


def write_depth_png(path: str | Path, depth: np.ndarray) -> None:
    """Write uint16 (H, W), atomically."""
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise ValueError(f"a depth image is uint16 (H, W), not {depth.dtype} {depth.shape}")
    write_image(path, depth)
