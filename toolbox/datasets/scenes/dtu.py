"""DTU as MVSNet and CVP-MVSNet lay it out: ``Cameras/``, ``Rectified/`` and, for training, ``Depths/``."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from toolbox.errors import UserError
from toolbox.io import CamFile, image_size, read_cam_txt, read_pair_txt
from toolbox.registry import SCENES
from toolbox.structures import Scene, View

from .assembly import SceneBuilder, check_intrinsics
from .mvsnet_cameras import DEFAULT_NUM_DEPTHS, depth_range_of, intrinsics_for

_LAYOUT = "Expected Cameras/{:08d}_cam.txt and Rectified/scanN_train/rect_{:03d}_{light}_r5000.png (or Rectified/scanN)"
_IMAGE = re.compile(r"rect_(\d+)_(\d+)_r5000\.(png|jpg)")


@SCENES.register_module()
def DTUTraining(
    root: str | Path,
    scans: Sequence[str | int] | None = None,
    lightings: Sequence[int] | None = None,
    depth: str | Path | bool = "auto",
    num_depths: int = DEFAULT_NUM_DEPTHS,
) -> list[Scene]:
    """DTU's training set in the MVSNet layout: one scene per scan and lighting, named ``scanN_L``, in millimetres.

    Args:
        root: folder with Cameras/, Rectified/scanN_train/ and Depths/scanN_train/.
        scans: 'scanN' or N; None takes all there are.
        lightings: of 0 to 6; None takes all that a scan's images show. One that has no image at all is an error.
        depth: 'auto' takes Depths/scanN_train (or Depths/scanN) where it exists; 'none' or False takes no depth; a
            folder takes the place of Depths/ (pseudo depth, say).
        num_depths: planes of a camera file that gives a first depth and an interval only.

    Returns:
        Scenes in the order of scans, then lightings. View ids count from 0 (file numbers of images from 1). A mesh
        Meshes/scanN.ply is their ground truth.

    Raises:
        UserError: the layout, a camera file or an image is not as expected.
    """
    root = Path(root)
    chosen = _scan_names(root, "_train") if scans is None else [_scan_name(scan) for scan in scans]
    if not chosen:
        raise UserError(root, "holds no folder Rectified/scanN_train", _LAYOUT)
    scenes = []
    for scan in chosen:
        lights = _lightings(root / "Rectified" / f"{scan}_train") if lightings is None else lightings
        scenes += [_dtu_scene(root, scan, light, "_train", depth, num_depths) for light in lights]
    return scenes


@SCENES.register_module()
def DTUTest(
    root: str | Path,
    scan: str | int | None = None,
    lighting: int = 3,
    depth: str | Path | bool = "auto",
    num_depths: int = DEFAULT_NUM_DEPTHS,
) -> Scene:
    """One scan of DTU's ``Cameras/`` + ``Rectified/scanN`` form (test), in millimetres; ``scanN_train`` is taken too.

    Args:
        root: folder with Cameras/ and Rectified/.
        scan: 'scanN' or N; None where there is one only.
        lighting, depth, num_depths: see DTUTraining.

    Raises:
        UserError: the layout, a camera file or an image is not as expected; or several scans, and none is named.
    """
    root = Path(root)
    forms = dict.fromkeys(_scan_names(root, "_train"), "_train") | dict.fromkeys(_scan_names(root, ""), "")
    if scan is None and len(forms) != 1:
        listing = ", ".join(forms) or "none"
        raise UserError(root, f"holds {len(forms)} scans ({listing})", "Name one: scan='scanN'")
    name = next(iter(forms)) if scan is None else _scan_name(scan)
    if name not in forms:
        raise UserError(root, f"has no {name} (it has {', '.join(forms) or 'no scan'})", _LAYOUT)
    return _dtu_scene(root, name, lighting, forms[name], depth, num_depths)


def _scan_name(scan: str | int) -> str:
    text = str(scan).removesuffix("_train")
    return f"scan{text}" if text.isdigit() else text


def _scan_names(root: Path, suffix: str) -> list[str]:
    pattern = re.compile(rf"(scan\d+){suffix}")
    folders = sorted((root / "Rectified").glob("scan*")) if (root / "Rectified").is_dir() else []
    names = [match[1] for folder in folders if (match := pattern.fullmatch(folder.name))]
    return sorted(names, key=lambda name: int(name[4:]))


@lru_cache(maxsize=512)
def _cam(path: Path, stamp: int) -> CamFile:
    """A camera file, read once for all the scenes that share it (``stamp``: its time of change)."""
    return read_cam_txt(path)


def _cam_files(root: Path, view_id: int, training: bool) -> list[Path]:
    """The camera files of a view, those made for the form first."""
    name = f"{view_id:08d}_cam.txt"
    full, quarter = root / "Cameras" / name, root / "Cameras" / "train" / name
    return [path for path in ((quarter, full) if training else (full, quarter)) if path.is_file()]


def _dtu_scene(root: Path, scan: str, light: int, suffix: str, depth: str | Path | bool, num_depths: int) -> Scene:
    folder = root / "Rectified" / f"{scan}{suffix}"
    builder = SceneBuilder(f"{scan}_{light}" if suffix else scan, folder)
    images = _images_of(folder, light)
    pair_file = root / "Cameras" / "pair.txt"
    pairs = read_pair_txt(pair_file) if pair_file.is_file() else None
    depth_folder = _depth_folder(root, scan, depth)
    for view_id in sorted({*images, *(pairs or {})}):
        name = f"rect_{view_id + 1:03d}_{light}_r5000"
        size = builder.readable_size(name, images.get(view_id))
        if size is None:
            continue
        cam_paths = _cam_files(root, view_id, training=bool(suffix))
        if not cam_paths:
            builder.leave_out(name, "camera file is missing")
            continue
        cams = [_cam(path, path.stat().st_mtime_ns) for path in cam_paths]
        world_to_cam = builder.usable_pose(name, cams[0].world_to_cam, cam_paths[0])
        if world_to_cam is None:
            continue
        intrinsics = intrinsics_for(size, cams, images[view_id], cam_paths)
        depth_path = depth_folder and depth_folder / f"depth_map_{view_id:04d}.pfm"
        depth_path = depth_path if depth_path and depth_path.is_file() else None
        depth_size = image_size(depth_path) if depth_path else size
        view = View(
            view_id,
            images[view_id],
            size,
            check_intrinsics(intrinsics, cam_paths[0]),
            world_to_cam,
            depth_path,
            depth_range=depth_range_of(cams[0], cam_paths[0], num_depths),
            name=name,
            depth_intrinsics=None if depth_size == size else intrinsics_for(depth_size, cams, depth_path, cam_paths),
        )
        builder.add(view, camera="DTU")
    mesh = root / "Meshes" / f"{scan}.ply"
    return builder.build("mm", pairs, mesh_path=mesh if mesh.is_file() else None)


def _matches(folder: Path) -> list[re.Match]:
    """The images of a scan's folder, with the number and the lighting in their names."""
    if not folder.is_dir():
        raise UserError(folder, "is no folder", _LAYOUT)
    return [match for path in sorted(folder.iterdir()) if (match := _IMAGE.fullmatch(path.name))]


def _lightings(folder: Path) -> list[int]:
    found = sorted({int(match[2]) for match in _matches(folder)})
    if not found:
        raise UserError(folder, "holds no image", _LAYOUT)
    return found


def _images_of(folder: Path, light: int) -> dict[int, Path]:
    return {int(match[1]) - 1: folder / match[0] for match in _matches(folder) if int(match[2]) == light}


def _depth_folder(root: Path, scan: str, depth: str | Path | bool) -> Path | None:
    """The folder of a scan's depth maps; None where there is none or none is wanted."""
    if depth in ("none", False):
        return None
    by_default = depth in ("auto", True)
    base = root / "Depths" if by_default else Path(depth)
    found = next((base / name for name in (f"{scan}_train", scan) if (base / name).is_dir()), None)
    if found is None and not by_default:
        raise UserError(
            base, f"holds no folder {scan}_train or {scan}", "Write the depth maps there, or use depth='auto'"
        )
    return found
