"""``transforms.json`` of NeRF, instant-ngp and nerfstudio.

Poses are camera to world with OpenGL axes (x right, y up, z backward); positions in the image are counted from its
corner (a pixel's centre is at 0.5). Both are converted here.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trimesh

from toolbox.errors import UserError
from toolbox.registry import SCENES
from toolbox.structures import Scene, SparsePoints, View

from .assembly import IMAGE_SUFFIXES, SceneBuilder, camera_matrix, check_intrinsics, inverse_rigid
from .undistortion import Lens, fisheye_distortion, perspective_distortion, undistorted_images
from .visibility import points_in_frusta

FILE_NAMES = ("transforms.json", "transforms_train.json")
_PERSPECTIVE = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
_CAMERA_KEYS = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "cx", "cy", "w", "h")
_FLIP_Y_AND_Z = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class _Camera:
    """What the file says of one frame's camera, pixel centres at integers; ``key`` is equal for one camera's frames."""

    intrinsics: np.ndarray
    stated_size: tuple[int, int] | None
    fisheye: bool
    k: tuple[float, ...]
    p: tuple[float, ...]
    key: str

    @property
    def distorted(self) -> bool:
        # An equidistant fisheye bends straight lines with all its parameters at zero.
        return self.fisheye or any(self.k) or any(self.p)

    def lens(self, size: tuple[int, int]) -> Lens:
        distort = (
            fisheye_distortion(self.intrinsics, list(self.k))
            if self.fisheye
            else perspective_distortion(self.intrinsics, list(self.k), list(self.p))
        )
        parameters = {"model": "fisheye" if self.fisheye else "perspective", "k": self.k, "p": self.p}
        return Lens(self.intrinsics, size, distort, parameters)


@SCENES.register_module()
def TransformsScene(path: str | Path, cache_dir: str | Path | None = None) -> Scene:
    """A scene of NeRF's, instant-ngp's or nerfstudio's ``transforms.json``.

    Intrinsics are the file's (``fl_x fl_y cx cy w h``) or a frame's own; without focal length ``camera_angle_x`` gives
    it. Distortion ``k1..k4 p1 p2``, or ``camera_model`` OPENCV_FISHEYE with ``k1..k4``: undistorted once, cached.
    Points of ``ply_file_path`` are taken as seen by every view in whose image they fall.

    Args:
        path: the JSON file, or the folder that holds transforms.json (or transforms_train.json).
        cache_dir: see ``toolbox.datasets.scenes.cache``.

    Returns:
        The scene; view ids are positions in the file's list of frames; the unit is unknown.

    Raises:
        UserError: the file is malformed, a pose is not rigid, an image is not of its camera's size, no view is usable.
    """
    path = _find_file(Path(path))
    content = _read_json(path)
    builder = SceneBuilder(path.resolve().parent.name, path)
    frames: list[tuple[View, _Camera]] = []
    for index, frame in enumerate(content["frames"]):
        name, pose = _name_and_pose(path, index, frame)
        image_path = _image_path(path, name)
        size = builder.readable_size(name, image_path)
        cam_to_world = None if size is None else builder.usable_pose(name, pose, f"{path} (frame '{name}')")
        if cam_to_world is None:
            continue
        camera = _camera({**content, **frame}, size, f"{path} (frame '{name}')")
        builder.check_size(image_path, size, camera.stated_size)
        world_to_cam = inverse_rigid(cam_to_world @ _FLIP_Y_AND_Z)
        frames.append((View(index, image_path, size, camera.intrinsics, world_to_cam, name=name), camera))
    for view, camera in _undistorted(frames, cache_dir, path):
        builder.add(view, camera=camera.key)
    return builder.build("unknown", points=_points(path, content, builder.views))


def _find_file(path: Path) -> Path:
    if path.is_dir():
        found = next((path / name for name in FILE_NAMES if (path / name).is_file()), None)
        if found is None:
            raise UserError(path, f"holds none of {', '.join(FILE_NAMES)}", "Give the JSON file itself")
        return found
    return path


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "Check the path") from error
    except json.JSONDecodeError as error:
        raise UserError(path, f"is no JSON ({error})", "Restore the file, or export it anew") from error
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
        raise UserError(path, "has no list 'frames'", "Give a transforms.json as NeRF or nerfstudio write it")
    return content


def _name_and_pose(path: Path, index: int, frame: dict) -> tuple[str, np.ndarray]:
    try:
        name = str(frame["file_path"])
        pose = np.array(frame["transform_matrix"], dtype=np.float64)
        if pose.shape not in ((4, 4), (3, 4)):
            raise ValueError(f"transform_matrix has shape {pose.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            path,
            f"is malformed at frame {index} ({error!r})",
            "Each frame has a file_path and a 4 x 4 transform_matrix",
        ) from error
    return name, pose


def _image_path(path: Path, name: str) -> Path | None:
    """The image of a frame; its name may come without suffix. None where there is none."""
    given = path.parent / name.replace("\\", "/")
    candidates = [given] + [given.with_name(given.name + suffix) for suffix in IMAGE_SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _camera(values: dict, size: tuple[int, int], where: str) -> _Camera:
    try:
        stated = (round(values["h"]), round(values["w"])) if "h" in values and "w" in values else None
        height, width = stated or size
        fx = values["fl_x"] if "fl_x" in values else 0.5 * width / math.tan(0.5 * values["camera_angle_x"])
        if "fl_y" in values:
            fy = values["fl_y"]
        elif "camera_angle_y" in values:
            fy = 0.5 * height / math.tan(0.5 * values["camera_angle_y"])
        else:
            fy = fx
        cx, cy = values.get("cx", 0.5 * width), values.get("cy", 0.5 * height)
        k = tuple(float(values.get(f"k{i}", 0.0)) for i in (1, 2, 3, 4))
        p = tuple(float(values.get(f"p{i}", 0.0)) for i in (1, 2))
        intrinsics = camera_matrix(float(fx), float(fy), float(cx) - 0.5, float(cy) - 0.5)
    except KeyError as error:
        raise UserError(where, f"has no focal length ({error} is missing)", "Add fl_x, or camera_angle_x") from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(where, f"has malformed intrinsics ({error})", "Write them as numbers") from error
    model = str(values.get("camera_model", "OPENCV")).upper()
    if model not in _PERSPECTIVE + _FISHEYE:
        known = ", ".join(_PERSPECTIVE + _FISHEYE)
        raise UserError(where, f"has the camera model '{model}'", f"Undistort the images first; known models: {known}")
    fisheye = model in _FISHEYE or bool(values.get("is_fisheye", False))
    key = repr([values.get(name) for name in _CAMERA_KEYS])
    return _Camera(check_intrinsics(intrinsics, where), stated, fisheye, k, p, key)


def _undistorted(
    frames: list[tuple[View, _Camera]], cache_dir: str | Path | None, path: Path
) -> list[tuple[View, _Camera]]:
    """The frames with the images of distorted cameras replaced by undistorted ones."""
    bent = [k for k, (_, camera) in enumerate(frames) if camera.distorted]
    if not bent:
        return frames
    inputs = [(frames[k][0].image_path, frames[k][1].lens(frames[k][0].size)) for k in bent]
    frames = list(frames)
    for k, (image_path, intrinsics) in zip(bent, undistorted_images(inputs, cache_dir, str(path)), strict=True):
        view, camera = frames[k]
        frames[k] = (replace(view, image_path=image_path, intrinsics=intrinsics), camera)
    return frames


def _points(path: Path, content: dict, views: list[View]) -> SparsePoints | None:
    if "ply_file_path" not in content or not views:
        return None
    ply = path.parent / str(content["ply_file_path"])
    try:
        xyz = np.asarray(trimesh.load(ply, process=False).vertices, dtype=np.float64)
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise UserError(ply, f"cannot be read as PLY ({error})", "Restore it, or remove ply_file_path") from error
    return points_in_frusta(xyz[np.isfinite(xyz).all(axis=1)], views)
