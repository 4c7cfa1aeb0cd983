"""ScanNet's ``.sens`` container: a header, then frames of a pose, a compressed colour and a compressed depth image."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from toolbox.errors import UserError

_VERSION = 4
COLOUR_SUFFIXES = {1: ".png", 2: ".jpg"}
_RAW_COLOUR = 0
_RAW_DEPTH, _ZLIB_DEPTH = 0, 1
_REMEDY = "Download the file anew; its size tells whether the download ended early"


@dataclass(frozen=True)
class SensHeader:
    """What the header says: (4, 4) float64 matrices, sizes as (height, width), units of depth in a metre."""

    colour_intrinsics: np.ndarray
    colour_extrinsics: np.ndarray
    depth_intrinsics: np.ndarray
    depth_extrinsics: np.ndarray
    colour_compression: int
    depth_compression: int
    colour_size: tuple[int, int]
    depth_size: tuple[int, int]
    depth_shift: float
    num_frames: int


@dataclass(frozen=True)
class SensFrame:
    """One frame: (4, 4) camera to world, and where its colour and depth bytes lie in the file (offset, length)."""

    cam_to_world: np.ndarray
    colour: tuple[int, int]
    depth: tuple[int, int]


class SensFile:
    """A ``.sens`` file with its table of frames; images are read when asked for.

    Raises:
        UserError: the file is missing, of another version, or ends early.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self.header = self._read_header(file)
                self.frames = list(self._read_frames(file))
        except OSError as error:
            raise UserError(path, f"cannot be read ({error.strerror})", "Check the path and its permissions") from error

    def colour_bytes(self, frame: SensFrame) -> bytes:
        """The stored colour image; an encoded PNG or JPEG, or raw RGB bytes (``colour_is_raw``)."""
        return self._bytes(frame.colour)

    @property
    def colour_is_raw(self) -> bool:
        """Colour is stored as RGB bytes and not as PNG or JPEG."""
        return self.header.colour_compression == _RAW_COLOUR

    def depth(self, frame: SensFrame) -> np.ndarray:
        """uint16 (H, W) depth in units of 1 / depth_shift metres, 0 where unknown.

        Raises:
            UserError: the bytes cannot be decompressed, or the compression is none of raw and zlib.
        """
        data = self._bytes(frame.depth)
        compression = self.header.depth_compression
        if compression not in (_RAW_DEPTH, _ZLIB_DEPTH):
            raise UserError(
                self.path,
                f"compresses depth by method {compression}",
                "Known are 0 (raw) and 1 (zlib); export to folders",
            )
        try:
            values = np.frombuffer(zlib.decompress(data) if compression == _ZLIB_DEPTH else data, "<u2")
            return values.reshape(self.header.depth_size)
        except (zlib.error, ValueError) as error:
            raise UserError(self.path, f"holds a depth image that cannot be read ({error})", _REMEDY) from error

    def _bytes(self, extent: tuple[int, int]) -> bytes:
        with self.path.open("rb") as file:
            file.seek(extent[0])
            return file.read(extent[1])

    def _take(self, file: BinaryIO, format: str, what: str) -> tuple:
        data = file.read(struct.calcsize(format))
        if len(data) < struct.calcsize(format):
            raise UserError(self.path, f"is truncated in {what}", _REMEDY)
        return struct.unpack(format, data)

    def _matrix(self, file: BinaryIO, what: str) -> np.ndarray:
        return np.array(self._take(file, "<16f", what), dtype=np.float64).reshape(4, 4)

    def _read_header(self, file: BinaryIO) -> SensHeader:
        (version,) = self._take(file, "<I", "its header")
        if version != _VERSION:
            raise UserError(
                self.path, f"is no .sens file of version {_VERSION} (it says {version})", "Export it to folders"
            )
        (length,) = self._take(file, "<Q", "its header")
        file.seek(length, 1)
        matrices = [self._matrix(file, "its header") for _ in range(4)]
        colour_compression, depth_compression = self._take(file, "<2i", "its header")
        cw, ch, dw, dh = self._take(file, "<4I", "its header")
        (shift,) = self._take(file, "<f", "its header")
        (count,) = self._take(file, "<Q", "its header")
        if not shift > 0:
            raise UserError(self.path, f"has a depth shift of {shift}", _REMEDY)
        return SensHeader(*matrices, colour_compression, depth_compression, (ch, cw), (dh, dw), float(shift), count)

    def _read_frames(self, file: BinaryIO) -> Iterator[SensFrame]:
        size = self.path.stat().st_size
        for index in range(self.header.num_frames):
            what = f"frame {index} of {self.header.num_frames}"
            pose = self._matrix(file, what)
            _, _, colour_bytes, depth_bytes = self._take(file, "<4Q", what)
            start = file.tell()
            end = start + colour_bytes + depth_bytes
            if end > size:
                raise UserError(self.path, f"is truncated in {what}", _REMEDY)
            yield SensFrame(pose, (start, colour_bytes), (start + colour_bytes, depth_bytes))
            file.seek(end)
