"""What every importer does at the door: check poses, sizes and ranges; name what is left out; build the scene."""

from collections import Counter
from pathlib import Path

import numpy as np

from toolbox.errors import UserError
from toolbox.io import image_size
from toolbox.structures import LeftOut, Scene, SparsePoints, View

# Poses printed with three digits drift by about 1e-3 from a rotation; a scaled one is off by far more.
_RIGID_TOLERANCE = 5e-3
# A camera given for twice or half the image's size has its principal point at the corner, or far from the middle.
_CENTRAL = (0.1, 0.9)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG", ".bmp", ".tif", ".tiff", ".webp")


def rigid(matrix: np.ndarray, where: str | Path) -> np.ndarray:
    """The rigid (4, 4) transform that ``matrix`` is up to rounding: its rotation replaced by the nearest exact one.

    Args:
        matrix: (4, 4) or (3, 4), finite.
        where: named in the error.

    Raises:
        UserError: the matrix scales, shears or mirrors, or its last row is not 0 0 0 1.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise UserError(where, f"holds a pose of shape {matrix.shape}", "Write a 4 x 4 matrix, a row a line")
    if matrix.shape == (4, 4) and np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise UserError(where, f"holds a pose whose last row is {matrix[3]}", "Write 0 0 0 1 there; check the order")
    rotation = matrix[:3, :3]
    drift = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if drift > _RIGID_TOLERANCE or np.linalg.det(rotation) < 0:
        scale = np.cbrt(np.linalg.det(rotation))
        raise UserError(
            where,
            f"holds a pose that is not rigid (R^T R is off by {drift:.3g}; scale {scale:.4g})",
            "Poses are a rotation and a translation: divide the scale out of the rotation, and check handedness",
        )
    u, _, vt = np.linalg.svd(rotation)
    result = np.eye(4)
    result[:3, :3] = u @ vt
    result[:3, 3] = matrix[:3, 3]
    return result


def inverse_rigid(transform: np.ndarray) -> np.ndarray:
    """Inverse of a rigid (4, 4) transform."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """(3, 3) intrinsics."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


def check_intrinsics(intrinsics: np.ndarray, where: str | Path) -> np.ndarray:
    """The (3, 3) intrinsics as float64.

    Raises:
        UserError: not finite, no positive focal length, or the last row is not 0 0 1.
    """
    matrix = np.asarray(intrinsics, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise UserError(where, "holds no usable intrinsics", "Write finite fx, fy > 0 and cx, cy, in pixels")
    if np.abs(matrix[2] - (0, 0, 1)).max() > 1e-9 or abs(matrix[1, 0]) > 1e-9:
        raise UserError(where, "holds no upper triangular intrinsics", "Write fx s cx / 0 fy cy / 0 0 1")
    return matrix


def check_depth_range(near: float, far: float, where: str | Path) -> tuple[float, float]:
    """(near, far) as floats.

    Raises:
        UserError: not finite, near <= 0, or near >= far.
    """
    if not (np.isfinite(near) and np.isfinite(far) and 0 < near < far):
        raise UserError(
            where, f"gives the depth range {near:g} .. {far:g}", "A depth range is finite with 0 < near < far"
        )
    return float(near), float(far)


def read_matrix(path: str | Path) -> np.ndarray:
    """A text file of whitespace-separated numbers, a row a line; numbers may be non-finite.

    Raises:
        UserError: the file is missing, or holds no matrix of numbers.
    """
    try:
        rows = [line.split() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        matrix = np.array([[float(x) for x in row] for row in rows])
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "Restore the file") from error
    except ValueError as error:
        raise UserError(path, "holds a malformed matrix", "Write rows of numbers, a line each") from error
    if matrix.ndim != 2:
        raise UserError(path, "is empty", "Restore the file, or remove it so that the frame is left out")
    return matrix


class SceneBuilder:
    """Collects the views of a source, and what is left out; an importer adds frames one by one.

    Args:
        name: of the scene.
        source: file or folder that errors about the whole name.
    """

    def __init__(self, name: str, source: str | Path):
        self.name, self.source = name, Path(source)
        self.views: list[View] = []
        self.left_out: list[LeftOut] = []
        self._cameras: dict[object, list[View]] = {}

    def leave_out(self, name: str, reason: str) -> None:
        """Note a frame that the source lists and the scene will not hold."""
        self.left_out.append(LeftOut(name, reason))

    def readable_size(self, name: str, image_path: Path | None) -> tuple[int, int] | None:
        """(height, width) of the image; None, and the frame left out, where it is missing or unreadable."""
        if image_path is None or not image_path.is_file():
            self.leave_out(name, "image is missing")
            return None
        try:
            return image_size(image_path)
        except UserError as error:
            self.leave_out(name, f"image cannot be read: {error.fault}")
            return None

    def usable_pose(self, name: str, matrix: np.ndarray, where: str | Path) -> np.ndarray | None:
        """The rigid transform; None, and the frame left out, where the pose is not finite.

        Raises:
            UserError: the pose is not rigid.
        """
        if not np.isfinite(matrix).all():
            self.leave_out(name, "pose is not finite")
            return None
        return rigid(matrix, where)

    def check_size(self, image_path: Path, size: tuple[int, int], stated: tuple[int, int] | None) -> None:
        """Raise UserError where the source states another (height, width) for the camera than the image has."""
        if stated is not None and size != stated:
            raise UserError(
                image_path,
                f"is {size[1]} x {size[0]} pixels where its camera is given for {stated[1]} x {stated[0]}",
                f"Resize the image, or scale the camera's intrinsics in {self.source} with it",
            )

    def add(self, view: View, camera: object) -> None:
        """Take a view in.

        Args:
            camera: views of one camera (equal keys) must have one size.

        Raises:
            UserError: the principal point lies outside the image's middle.
        """
        height, width = view.size
        low, high = _CENTRAL
        x, y = view.intrinsics[0, 2] / width, view.intrinsics[1, 2] / height
        if not (low < x < high and low < y < high):
            raise UserError(
                view.image_path,
                f"is {width} x {height} pixels where its camera has its principal point at "
                f"({view.intrinsics[0, 2]:.1f}, {view.intrinsics[1, 2]:.1f}): the camera is for another size",
                f"Resize the image, or scale the intrinsics in {self.source} to the image",
            )
        self.views.append(view)
        self._cameras.setdefault(camera, []).append(view)

    def build(
        self,
        unit: str,
        pairs: dict[int, list[tuple[int, float]]] | None = None,
        points: SparsePoints | None = None,
        mesh_path: Path | None = None,
    ) -> Scene:
        """The scene; pairs and points that speak of views left out are reduced to the views there are.

        Raises:
            UserError: no view is usable, two views have one id, or images of one camera have different sizes.
        """
        if not self.views:
            reasons = Counter(entry.reason for entry in self.left_out)
            detail = "; ".join(f"{count} frames: {reason}" for reason, count in reasons.items()) or "it lists no frame"
            raise UserError(self.source, f"holds no usable view ({detail})", "Check the folder's layout and its files")
        for views in self._cameras.values():
            _check_one_size(views)
        ids = {view.id for view in self.views}
        if len(ids) < len(self.views):
            raise UserError(self.source, "gives two views the same id", "Make the ids unique")
        if pairs is not None:
            pairs = {ref: [s for s in sources if s[0] in ids] for ref, sources in pairs.items() if ref in ids}
        return Scene(
            self.name,
            self.views,
            unit,
            pairs=pairs,
            points=points and keep_points_of(points, ids),
            mesh_path=mesh_path,
            left_out=self.left_out,
        )


def _check_one_size(views: list[View]) -> None:
    """Raise where images of one camera have different sizes; names an image of the rarer size."""
    sizes = Counter(view.size for view in views)
    if len(sizes) == 1:
        return
    usual = sizes.most_common(1)[0][0]
    odd = next(view for view in views if view.size != usual)
    raise UserError(
        odd.image_path,
        f"is {odd.size[1]} x {odd.size[0]} pixels where the other images of its camera are {usual[1]} x {usual[0]}",
        "Resize the image, or give it a camera of its own; or remove it so that the view is left out",
    )


def keep_points_of(points: SparsePoints, ids: set[int]) -> SparsePoints | None:
    """The points seen by at least one of the views, with only those views; None where nothing remains."""
    known = np.array(sorted(ids))
    seen = [np.asarray(v)[np.isin(v, known)] for v in points.view_ids]
    keep = np.array([len(v) > 0 for v in seen], dtype=bool)
    if not keep.any():
        return None
    return SparsePoints(points.xyz[keep], [v for v, k in zip(seen, keep, strict=True) if k])
