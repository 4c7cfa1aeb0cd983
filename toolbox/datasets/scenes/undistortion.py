"""Images of a camera with lens distortion made pinhole images, once, into the cache."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from toolbox.errors import UserError
from toolbox.io import read_image, write_image

from .cache import cache_folder, make_missing

# Bounds of the new focal length relative to the old: a wide fisheye's border would be stretched without end.
_FOCAL_FACTORS = np.geomspace(2.0, 0.5, 401)

Distortion = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Lens:
    """A camera with distortion.

    Attributes:
        intrinsics: (3, 3), pixel centres are integers.
        size: (height, width).
        distort: (N, 2) undistorted positions on the plane z = 1 -> (N, 2) pixel positions in the stored image.
        parameters: JSON values that identify the lens.
    """

    intrinsics: np.ndarray
    size: tuple[int, int]
    distort: Distortion
    parameters: dict = field(default_factory=dict)


def perspective_distortion(intrinsics: np.ndarray, k: list[float], p: list[float]) -> Distortion:
    """Radial (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8) and tangential (p1, p2) distortion, as nerfstudio has it.

    With k4 = 0 it is OpenCV's model (whose own k4 is another thing).
    """

    def distort(xy: np.ndarray) -> np.ndarray:
        x, y = xy[:, 0], xy[:, 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (k[0] + r2 * (k[1] + r2 * (k[2] + r2 * k[3])))
        dx = 2 * p[0] * x * y + p[1] * (r2 + 2 * x * x)
        dy = p[0] * (r2 + 2 * y * y) + 2 * p[1] * x * y
        return _to_pixels(np.stack((x * radial + dx, y * radial + dy), axis=1), intrinsics)

    return distort


def fisheye_distortion(intrinsics: np.ndarray, k: list[float]) -> Distortion:
    """OpenCV's fisheye model: theta (1 + k1 theta^2 + ... + k4 theta^8), theta the angle to the optical axis."""

    def distort(xy: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(xy, axis=1)
        theta = np.arctan(r)
        t2 = theta * theta
        bent = theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))
        factor = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
        return _to_pixels(xy * factor[:, None], intrinsics)

    return distort


def _to_pixels(xy: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    return xy @ intrinsics[:2, :2].T + intrinsics[:2, 2]


def pinhole_intrinsics(lens: Lens) -> np.ndarray:
    """Intrinsics of the undistorted image: the widest whose border comes from inside the stored image.

    Size and principal point stay; both focal lengths change by one factor, between 0.5 and 2.

    Raises:
        UserError: no factor does, so the distortion parameters cannot be right.
    """
    height, width = lens.size
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    border = np.concatenate(
        [
            np.stack((x, np.zeros_like(x)), 1),
            np.stack((x, np.full_like(x, height - 1)), 1),
            np.stack((np.zeros_like(y), y), 1),
            np.stack((np.full_like(y, width - 1), y), 1),
        ]
    )
    best = None
    for factor in _FOCAL_FACTORS:
        candidate = lens.intrinsics.copy()
        candidate[:2, :2] *= factor
        source = lens.distort(_rays(border, candidate))
        # Nearly inside is inside: the outermost pixel is repeated there.
        if not ((source > -0.5) & (source < (width - 0.5, height - 0.5))).all():
            break
        best = candidate
    if best is None:
        raise UserError(
            f"lens distortion {lens.parameters}",
            f"leaves no rectangle of the {width} x {height} image to be undistorted",
            "Check the distortion parameters and the camera model",
        )
    return best


def _rays(pixels: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    homogeneous = np.concatenate((pixels, np.ones((len(pixels), 1))), axis=1)
    return (homogeneous @ np.linalg.inv(intrinsics).T)[:, :2]


def undistortion_maps(lens: Lens, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the pinhole image with ``intrinsics`` lies in the stored image (maps of ``cv2.remap``)."""
    height, width = lens.size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float64)
    source = lens.distort(_rays(pixels, intrinsics)).astype(np.float32).reshape(height, width, 2)
    return np.ascontiguousarray(source[..., 0]), np.ascontiguousarray(source[..., 1])


def undistorted_images(
    images: list[tuple[Path, Lens]], cache_dir: str | Path | None, about: str
) -> list[tuple[Path, np.ndarray]]:
    """Undistort images into the cache; those already there are reused.

    Args:
        images: stored image and its lens; equal lenses are recognised by their parameters and size.
        about: the source, for the cache's note.

    Returns:
        For each image, its undistorted PNG and the (3, 3) intrinsics of that. An image that cannot be decoded raises
        UserError.
    """
    lenses = {_key(lens): lens for _, lens in images}
    pinholes = {key: pinhole_intrinsics(lens) for key, lens in lenses.items()}
    maps: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    folder = cache_folder("undistorted", [path for path, _ in images], {"lenses": sorted(lenses)}, cache_dir, about)
    targets, results = {}, []
    for index, (path, lens) in enumerate(images):
        target = folder / f"{index:06d}_{path.stem}.png"

        def make(out: Path, source: Path = path, key: str = _key(lens)) -> None:
            if key not in maps:
                maps.clear()  # images of a camera follow each other: only its maps are kept
                maps[key] = undistortion_maps(lenses[key], pinholes[key])
            write_image(
                out, cv2.remap(read_image(source), *maps[key], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            )

        targets[target] = make
        results.append((target, pinholes[_key(lens)]))
    make_missing(targets, "undistorting")
    return results


def _key(lens: Lens) -> str:
    return repr((lens.parameters, lens.intrinsics.tolist(), lens.size))
