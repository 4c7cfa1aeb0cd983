"""Labels, and pictures put together."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

_BAR = 22  # height of a label


def put_text(image: UInt8[np.ndarray, "h w 3"], text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """Write text into the image; (x, y) is where its base line starts."""
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)


def to_rgb(image: UInt8[np.ndarray, "*hw"]) -> UInt8[np.ndarray, "h w 3"]:
    """A grey (H, W) image as RGB; RGB stays as it is."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def hstack(images: Sequence[UInt8[np.ndarray, "h _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """Images of one height side by side."""
    return np.ascontiguousarray(np.concatenate(list(images), axis=1))


def contact_sheet(
    pictures: Sequence[tuple[str, UInt8[np.ndarray, "..."]]], columns: int, tile_width: int | None = None, gap: int = 4
) -> UInt8[np.ndarray, "h w 3"]:
    """Labelled pictures in rows of ``columns``, left to right, top to bottom.

    Args:
        pictures: (label, RGB or grey uint8 image); sizes may differ, aspect ratios are kept.
        tile_width: width of each picture in the sheet; None: the widest picture's.

    Raises:
        ValueError: no pictures, or no columns.
    """
    if not pictures or columns < 1:
        raise ValueError("a contact sheet needs at least one picture and one column")
    width = tile_width or max(image.shape[1] for _, image in pictures)
    tiles = [_tile(label, to_rgb(image), width) for label, image in pictures]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    columns = min(columns, len(tiles))
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    sheet = np.full((sum(heights) + gap * (len(rows) + 1), columns * (width + gap) + gap, 3), 255, np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = gap + column * (width + gap)
            sheet[top : top + tile.shape[0], left : left + width] = tile
        top += height + gap
    return sheet


def _tile(label: str, image: np.ndarray, width: int) -> np.ndarray:
    """The image scaled to the width, under a bar with its label."""
    if image.shape[1] != width:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        shrinks = width < image.shape[1]
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    bar = np.full((_BAR, width, 3), 32, np.uint8)
    put_text(bar, label, 6, _BAR - 7, (255, 255, 255))
    return np.concatenate([bar, image])
