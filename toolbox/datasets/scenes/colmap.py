"""COLMAP sparse models, text or binary, through pycolmap."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from toolbox.errors import UserError
from toolbox.registry import SCENES
from toolbox.structures import Scene, SparsePoints, View

from .assembly import SceneBuilder, check_intrinsics
from .undistortion import Lens, undistorted_images

_MODEL_FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0")
_IMAGE_FOLDERS = ("images", "../images", "../../images", "../../../images")


@SCENES.register_module()
def ColmapScene(root: str | Path, images: str | Path | None = None, cache_dir: str | Path | None = None) -> Scene:
    """A scene of a COLMAP sparse model, in the model's units.

    COLMAP counts positions in the image from its corner: half a pixel is subtracted from the principal point. Images of
    cameras with distortion are undistorted once, cached. The model's points are kept with the images of their
    tracks.

    Args:
        root: folder with ``sparse/0`` (or ``sparse``), or the model's own folder (cameras, images, points3D as .bin or
            .txt).
        images: folder of the images; None looks for ``images`` beside the model, up to three levels up.
        cache_dir: see ``toolbox.datasets.scenes.cache``.

    Returns:
        The scene; view ids are COLMAP's image ids, in the order of the image names; the unit is unknown.

    Raises:
        UserError: pycolmap is not installed, the model cannot be read, an image is not of its camera's size, a camera
            has no pinhole image, no view is usable.
    """
    pycolmap = _pycolmap()
    root = Path(root)
    model_path = _model_folder(root)
    image_folder = _image_folder(model_path, root) if images is None else Path(images)
    try:
        model = pycolmap.Reconstruction(str(model_path))
    except Exception as error:  # pycolmap raises ValueError, RuntimeError, IndexError for broken files
        raise UserError(
            model_path, f"cannot be read as a COLMAP model ({error})", "Export the model anew, or restore its files"
        ) from error
    builder = SceneBuilder(_scene_name(model_path), model_path)
    frames = list(_frames(model, builder, image_folder))
    lenses = {}
    for view, camera in frames:
        if not camera.is_undistorted() and camera.camera_id not in lenses:
            lenses[camera.camera_id] = _lens(camera, view.intrinsics, model_path)
    bent = [(view.image_path, lenses[camera.camera_id]) for view, camera in frames if camera.camera_id in lenses]
    straight = iter(undistorted_images(bent, cache_dir, str(model_path)) if bent else [])
    for view, camera in frames:
        if camera.camera_id in lenses:
            image_path, intrinsics = next(straight)
            view = replace(view, image_path=image_path, intrinsics=intrinsics)
        builder.add(view, camera=camera.camera_id)
    return builder.build("unknown", points=_points(model))


def _pycolmap() -> ModuleType:
    try:
        import pycolmap
    except ImportError as error:
        raise UserError(
            "pycolmap",
            "is not installed; COLMAP models are read with it",
            "Run pip install 'selfrecon-toolbox[optional]', or pip install pycolmap",
        ) from error
    return pycolmap


def is_model_folder(folder: Path) -> bool:
    """Whether the folder holds a COLMAP model, text or binary."""
    return any((folder / f"cameras{s}").is_file() and (folder / f"images{s}").is_file() for s in (".bin", ".txt"))


def find_model_folder(root: Path) -> Path | None:
    """The model's folder of a COLMAP workspace: itself, ``sparse/0``, ``sparse``; None where there is none."""
    return next((root / sub for sub in _MODEL_FOLDERS if is_model_folder(root / sub)), None)


def _model_folder(root: Path) -> Path:
    found = find_model_folder(root)
    if found is None:
        looked = ", ".join(sub or "the folder itself" for sub in _MODEL_FOLDERS)
        raise UserError(
            root,
            f"holds no COLMAP model: no cameras, images, points3D as .bin or .txt in {looked}",
            "Give the folder with sparse/0, or the model's own folder",
        )
    return found


def _image_folder(model_path: Path, root: Path) -> Path:
    candidates = [root / "images"] + [model_path.resolve() / sub for sub in _IMAGE_FOLDERS]
    found = next((folder.resolve() for folder in candidates if folder.is_dir()), None)
    if found is None:
        raise UserError(model_path, "has no folder 'images' beside it, up to three levels up", "Give it: images=FOLDER")
    return found


def _scene_name(model_path: Path) -> str:
    """The workspace's name: the model's folder without the usual sub-folders."""
    parts = list(model_path.resolve().parts)
    while len(parts) > 2 and (parts[-1].isdigit() or parts[-1] in ("sparse", "colmap")):
        parts.pop()
    return parts[-1]


def _frames(model: Any, builder: SceneBuilder, folder: Path) -> Iterator[tuple[View, Any]]:
    """Views with pinhole intrinsics of the stored images, and their COLMAP cameras."""
    for image in sorted(model.images.values(), key=lambda image: image.name):
        image_path = folder / image.name
        size = builder.readable_size(image.name, image_path)
        if size is None:
            continue
        if not image.has_pose:
            builder.leave_out(image.name, "pose is missing")
            continue
        pose = image.cam_from_world
        matrix = (pose() if callable(pose) else pose).matrix()
        world_to_cam = builder.usable_pose(image.name, np.vstack((matrix, (0, 0, 0, 1))), builder.source)
        if world_to_cam is None:
            continue
        camera = model.cameras[image.camera_id]
        builder.check_size(image_path, size, (camera.height, camera.width))
        yield (
            View(image.image_id, image_path, size, _pinhole(camera, builder.source), world_to_cam, name=image.name),
            camera,
        )


def _pinhole(camera: Any, source: Path) -> np.ndarray:
    if camera.model_name == "EQUIRECTANGULAR":
        raise UserError(
            source,
            f"has a camera {camera.camera_id} of model {camera.model_name}",
            "Cut the panoramas into pinhole images",
        )
    intrinsics = np.array(camera.calibration_matrix(), dtype=np.float64)
    intrinsics[:2, 2] -= 0.5
    return check_intrinsics(intrinsics, source)


def _lens(camera: Any, intrinsics: np.ndarray, source: Path) -> Lens:
    def distort(xy: np.ndarray) -> np.ndarray:
        return camera.img_from_cam(np.concatenate((xy, np.ones((len(xy), 1))), axis=1)) - 0.5

    parameters = {"model": camera.model_name, "params": [float(p) for p in camera.params]}
    return Lens(intrinsics, (camera.height, camera.width), distort, parameters)


def _points(model: Any) -> SparsePoints | None:
    points = list(model.points3D.values())
    if not points:
        return None
    ids = [np.unique([element.image_id for element in point.track.elements]) for point in points]
    return SparsePoints(np.array([point.xyz for point in points], dtype=np.float64), ids)
