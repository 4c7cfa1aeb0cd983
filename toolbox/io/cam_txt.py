"""The camera and pair files of the MVSNet layout (``*_cam.txt``, ``pair.txt``)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolbox.errors import UserError

from .atomic import write_text


@dataclass(frozen=True)
class CamFile:
    """What one ``*_cam.txt`` says, as written there.

    Attributes:
        world_to_cam: (4, 4) float64; OpenCV axes.
        intrinsics: (3, 3) float64.
        depth_min: nearest depth; None where the file has no depth line.
        depth_interval: distance of two planes; None where the file has none.
        num_depths: number of planes; None where the file has none.
        depth_max: farthest depth; None where the file has none.
    """

    world_to_cam: np.ndarray
    intrinsics: np.ndarray
    depth_min: float | None = None
    depth_interval: float | None = None
    num_depths: int | None = None
    depth_max: float | None = None


def _read_lines(path: str | Path) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "Check the path and its permissions") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_matrix(path: str | Path, lines: list[str], key: str, size: int) -> np.ndarray:
    remedy = f"Write '{key}' on a line of its own, then {size} rows of {size} numbers"
    if key not in lines:
        raise UserError(path, f"has no '{key}' block", remedy)
    start = lines.index(key) + 1
    try:
        rows = np.array([[float(x) for x in line.split()] for line in lines[start : start + size]])
    except ValueError as error:
        raise UserError(path, f"has a malformed or missing row in its '{key}' block", remedy) from error
    if rows.shape != (size, size):
        raise UserError(path, f"has an incomplete '{key}' block (expected {size} rows of {size} numbers)", remedy)
    return rows


def read_cam_txt(path: str | Path) -> CamFile:
    """Read a camera file: ``extrinsic`` 4x4, ``intrinsic`` 3x3, ``depth_min interval [num_depths [depth_max]]``.

    Values may be non-finite; the caller decides what that means.

    Raises:
        UserError: the file is missing, or a block is incomplete.
    """
    lines = _read_lines(path)
    world_to_cam = _read_matrix(path, lines, "extrinsic", 4)
    intrinsics = _read_matrix(path, lines, "intrinsic", 3)
    tail = lines[lines.index("intrinsic") + 4 :]
    try:
        depth = [float(x) for x in tail[0].split()] if tail else []
    except ValueError as error:
        raise UserError(
            path, "has a malformed depth line", "Write 'depth_min interval [num_depths [depth_max]]'"
        ) from error
    padded = depth[:4] + [None] * (4 - len(depth[:4]))
    return CamFile(
        world_to_cam,
        intrinsics,
        padded[0],
        padded[1],
        None if padded[2] is None else round(padded[2]),
        padded[3],
    )


def write_cam_txt(path: str | Path, cam: CamFile) -> None:
    """Write a camera file that ``read_cam_txt`` reads back to the same numbers."""

    def rows(matrix: np.ndarray) -> str:
        return "\n".join(" ".join(repr(float(x)) for x in row) for row in matrix)

    depth = [cam.depth_min, cam.depth_interval, cam.num_depths, cam.depth_max]
    present = depth[: depth.index(None)] if None in depth else depth
    tail = "\n" + " ".join(str(x) for x in present) + "\n" if present else ""
    write_text(path, f"extrinsic\n{rows(cam.world_to_cam)}\n\nintrinsic\n{rows(cam.intrinsics)}\n{tail}")


def read_pair_txt(path: str | Path) -> dict[int, list[tuple[int, float]]]:
    """Read a pair file: for each reference id, its (source id, score) list, best first.

    Raises:
        UserError: the file is missing, or ends early.
    """
    lines = _read_lines(path)
    try:
        pairs: dict[int, list[tuple[int, float]]] = {}
        for k in range(int(lines[0])):
            reference, fields = int(lines[1 + 2 * k]), lines[2 + 2 * k].split()
            count = int(fields[0])
            if len(fields) < 1 + 2 * count:
                raise ValueError
            pairs[reference] = [(int(fields[1 + 2 * i]), float(fields[2 + 2 * i])) for i in range(count)]
    except (ValueError, IndexError) as error:
        raise UserError(
            path,
            "is malformed or truncated (expected: number of views; per view its id and 'n id score id score ...')",
            "Write it anew, or remove it to have source views chosen from the cameras",
        ) from error
    return pairs


def write_pair_txt(path: str | Path, pairs: dict[int, list[tuple[int, float]]]) -> None:
    """Write a pair file, atomically."""
    lines = [str(len(pairs))]
    for reference, sources in pairs.items():
        lines += [str(reference), " ".join([str(len(sources))] + [f"{i} {score}" for i, score in sources])]
    write_text(path, "\n".join(lines) + "\n")
