"""Portable float map (PFM), the depth map format of the MVS family.

Header ``Pf`` (grey) or ``PF`` (colour), width and height, scale (negative: little endian), then float32 rows from the
bottom up.
"""

from pathlib import Path

import numpy as np

from toolbox.errors import UserError

from .atomic import atomic_path

_REMEDY = "Restore the file from its source, or write it anew"


def read_pfm(path: str | Path) -> np.ndarray:
    """Read a PFM file: float32 (H, W), or (H, W, 3) for a colour one; top row first.

    Raises:
        UserError: the file is missing, is no PFM, or ends early.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "Check the path and its permissions") from error
    fields, rest = [], data
    while len(fields) < 3 and b"\n" in rest:
        line, rest = rest.split(b"\n", 1)
        if not line.startswith(b"#"):
            fields.append(line.split())
    try:
        (magic,), (width, height), (scale,) = fields
        channels = {b"Pf": 1, b"PF": 3}[magic]
        width, height, scale = int(width), int(height), float(scale)
        if width < 1 or height < 1 or scale == 0:
            raise ValueError
    except (ValueError, KeyError) as error:
        raise UserError(path, "is no PFM file (expected 'Pf' or 'PF', a size and a scale)", _REMEDY) from error
    expected = width * height * channels * 4
    if len(rest) < expected:
        raise UserError(
            path,
            f"is truncated: {len(rest)} bytes of pixels where its size {width} x {height} asks for {expected}",
            _REMEDY,
        )
    values = np.frombuffer(rest, "<f4" if scale < 0 else ">f4", count=expected // 4).astype(np.float32)
    shape = (height, width) if channels == 1 else (height, width, 3)
    return np.ascontiguousarray(values.reshape(shape)[::-1])


def write_pfm(path: str | Path, values: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) values as little-endian float32 PFM, atomically."""
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise ValueError(f"PFM holds (H, W) or (H, W, 3) arrays, not {values.shape}")
    magic = "Pf" if values.ndim == 2 else "PF"
    header = f"{magic}\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(header + np.ascontiguousarray(values[::-1], dtype="<f4").tobytes())
