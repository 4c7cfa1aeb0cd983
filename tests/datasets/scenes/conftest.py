"""One small scene with known cameras, and writers of it in every format that has an importer."""

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from toolbox.io import CamFile, write_cam_txt, write_depth_png, write_image, write_json, write_pair_txt, write_pfm

SIZE = (48, 64)


@dataclass
class Truth:
    """Cameras (OpenCV axes, pixel centres at integers), images, depth in whole millimetres, points in view of all."""

    intrinsics: np.ndarray
    cam_to_world: list[np.ndarray]
    images: list[np.ndarray]
    depths: list[np.ndarray]
    points: np.ndarray
    pairs: dict[int, list[tuple[int, float]]]

    def world_to_cam(self, index: int) -> np.ndarray:
        return np.linalg.inv(self.cam_to_world[index])

    def project(self, index: int) -> np.ndarray:
        in_camera = self.points @ self.world_to_cam(index)[:3, :3].T + self.world_to_cam(index)[:3, 3]
        projected = in_camera @ self.intrinsics.T
        return projected[:, :2] / projected[:, 2:]


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(matrix)
    return u @ vt


def looking_at(centre: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """Camera to world; a float32 matrix (all that a .sens file can tell) with its rotation made exact."""
    z = (target - centre) / np.linalg.norm(target - centre)
    x = np.cross(np.array([np.sin(roll), np.cos(roll), 0.1]), z)
    x /= np.linalg.norm(x)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.stack((x, np.cross(z, x), z), axis=1)
    pose[:3, 3] = centre
    exact = pose.astype(np.float64)
    exact[:3, :3] = nearest_rotation(exact[:3, :3])
    return exact


@pytest.fixture
def truth() -> Truth:
    rng = np.random.default_rng(7)
    intrinsics = np.array([[70.25, 0, 33.5], [0, 66.75, 21.25], [0, 0, 1]])
    centres = [np.array([0.4 * k - 1.0, 0.15 * k * (-1) ** k, -0.1 * k]) for k in range(6)]
    poses = [looking_at(c, np.array([0.1, -0.2, 3.0]), 0.1 * k) for k, c in enumerate(centres)]
    images = [rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in poses]
    depths = [rng.integers(1500, 4000, SIZE, dtype=np.uint16) for _ in poses]
    points = np.array([0.1, -0.2, 3.0]) + rng.uniform(-0.5, 0.5, (200, 3))
    pairs = {k: [((k + step) % 6, 10.0 / step) for step in (1, 2, 3)] for k in range(6)}
    return Truth(intrinsics, poses, images, depths, points, pairs)


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(" ".join(repr(float(x)) for x in row) for row in matrix) + "\n")


def homogeneous(intrinsics: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = intrinsics
    return matrix


def scannet(truth: Truth, root: Path) -> Path:
    for k, pose in enumerate(truth.cam_to_world):
        write_image(root / "color" / f"{k}.png", truth.images[k])
        write_depth_png(root / "depth" / f"{k}.png", truth.depths[k])
        write_matrix(root / "pose" / f"{k}.txt", pose)
    for name in ("color", "depth"):
        write_matrix(root / "intrinsic" / f"intrinsic_{name}.txt", homogeneous(truth.intrinsics))
        write_matrix(root / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4))
    return root


def sens(truth: Truth, root: Path, colour: str = "png", depth: str = "zlib") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    k4, eye = homogeneous(truth.intrinsics).astype("<f4").tobytes(), np.eye(4, dtype="<f4").tobytes()
    parts = [struct.pack("<IQ", 4, 6), b"sensor", k4, eye, k4, eye]
    parts += [struct.pack("<2i", {"raw": 0, "png": 1, "jpg": 2}[colour], {"raw": 0, "zlib": 1}[depth])]
    parts += [struct.pack("<4IfQ", SIZE[1], SIZE[0], SIZE[1], SIZE[0], 1000.0, len(truth.images))]
    for pose, image, values in zip(truth.cam_to_world, truth.images, truth.depths, strict=True):
        bgr = np.ascontiguousarray(image[..., ::-1])
        encoded = image.tobytes() if colour == "raw" else cv2.imencode(f".{colour}", bgr)[1].tobytes()
        stored = values.astype("<u2").tobytes()
        stored = zlib.compress(stored) if depth == "zlib" else stored
        parts += [pose.astype("<f4").tobytes(), struct.pack("<4Q", 1, 2, len(encoded), len(stored)), encoded, stored]
    parts += [struct.pack("<Q", 0)]
    path = root / "scene.sens"
    path.write_bytes(b"".join(parts))
    return path


SEVEN_SCENES = {
    "depth_focal": (75.5, 74.5),
    "depth_centre": (30.5, 25.0),
    "colour_focal": (70.25, 66.75),
    "colour_centre": (33.5, 21.25),
    "depth_to_colour": (-0.03, 0.01, 0.005),
}


def seven_scenes(truth: Truth, root: Path) -> Path:
    offset = np.eye(4)
    offset[:3, 3] = SEVEN_SCENES["depth_to_colour"]
    for k, pose in enumerate(truth.cam_to_world):
        write_image(root / f"frame-{k:06d}.color.png", truth.images[k])
        write_depth_png(root / f"frame-{k:06d}.depth.png", truth.depths[k])
        write_matrix(root / f"frame-{k:06d}.pose.txt", pose @ offset)
    return root


def cam_file(truth: Truth, index: int) -> CamFile:
    return CamFile(truth.world_to_cam(index), truth.intrinsics, 1.5, 0.0125, 193, 3.9)


def mvsnet(truth: Truth, root: Path) -> Path:
    for k in range(len(truth.images)):
        write_image(root / "images" / f"{k:08d}.png", truth.images[k])
        write_cam_txt(root / "cams" / f"{k:08d}_cam.txt", cam_file(truth, k))
    write_pair_txt(root / "pair.txt", truth.pairs)
    return root


def dtu(truth: Truth, root: Path, scan: str = "scan4_train", lightings: tuple[int, ...] = (0, 3)) -> Path:
    for k in range(len(truth.images)):
        for light in lightings:
            write_image(root / "Rectified" / scan / f"rect_{k + 1:03d}_{light}_r5000.png", truth.images[k])
        write_cam_txt(root / "Cameras" / f"{k:08d}_cam.txt", cam_file(truth, k))
        if scan.endswith("_train"):
            write_pfm(root / "Depths" / scan / f"depth_map_{k:04d}.pfm", truth.depths[k].astype(np.float32))
    write_pair_txt(root / "Cameras" / "pair.txt", truth.pairs)
    return root


def transforms(truth: Truth, root: Path, **extra: object) -> Path:
    frames = []
    for k, pose in enumerate(truth.cam_to_world):
        write_image(root / "images" / f"{k:03d}.png", truth.images[k])
        opengl = pose @ np.diag([1.0, -1.0, -1.0, 1.0])
        frames.append({"file_path": f"images/{k:03d}.png", "transform_matrix": opengl.tolist()})
    k = truth.intrinsics
    content = {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2] + 0.5, "cy": k[1, 2] + 0.5}
    content |= {"w": SIZE[1], "h": SIZE[0], **extra, "frames": frames}
    write_json(root / "transforms.json", {key: value for key, value in content.items() if value is not None})
    return root / "transforms.json"


def folder(truth: Truth, root: Path) -> Path:
    views = []
    for k in range(len(truth.images)):
        write_image(root / "images" / f"{k:03d}.png", truth.images[k])
        write_depth_png(root / "depth" / f"{k:03d}.png", truth.depths[k])
        views.append(
            {
                "id": k,
                "image": f"images/{k:03d}.png",
                "depth": f"depth/{k:03d}.png",
                "world_to_cam": truth.world_to_cam(k).tolist(),
            }
        )
    fx, fy, cx, cy = truth.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    content = {
        "unit": "m",
        "intrinsics": {"fx": fx, "fy": fy, "cx": cx, "cy": cy},
        "size": list(SIZE),
        "depth_scale": 0.001,
        "depth_range": [1.4, 4.2],
        "pairs": {str(k): [s for s, _ in sources] for k, sources in truth.pairs.items()},
        "views": views,
    }
    write_json(root / "cameras.json", content)
    return root


def colmap(truth: Truth, root: Path, text: bool = False, distortion: tuple[float, ...] = ()) -> Path:
    pycolmap = pytest.importorskip("pycolmap")
    k = truth.intrinsics
    params = [k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, *distortion]
    model = pycolmap.Reconstruction()
    name = "OPENCV" if distortion else "PINHOLE"
    camera = pycolmap.Camera(model=name, width=SIZE[1], height=SIZE[0], params=params, camera_id=1)
    model.add_camera_with_trivial_rig(camera)
    projections = [truth.project(index) for index in range(len(truth.images))]
    for index, image in enumerate(truth.images):
        write_image(root / "images" / f"{index:03d}.png", image)
        pose = pycolmap.Rigid3d(truth.world_to_cam(index)[:3])
        # COLMAP's ids start at 1.
        entry = pycolmap.Image(f"{index:03d}.png", projections[index] + 0.5, 1, index + 1)
        model.add_image_with_trivial_frame(entry, pose)
    for p, xyz in enumerate(truth.points):
        seen = [index for index in range(len(truth.images)) if (p + index) % 3]
        model.add_point3D(xyz, pycolmap.Track([pycolmap.TrackElement(index + 1, p) for index in seen]))
    target = root / "sparse" / "0"
    target.mkdir(parents=True)
    (model.write_text if text else model.write_binary)(str(target))
    return root


@pytest.fixture
def write() -> SimpleNamespace:
    """The writers: (truth, root) -> path to open."""
    return SimpleNamespace(
        scannet=scannet,
        sens=sens,
        seven_scenes=seven_scenes,
        seven_scenes_calibration=SEVEN_SCENES,
        mvsnet=mvsnet,
        dtu=dtu,
        transforms=transforms,
        folder=folder,
        colmap=colmap,
        matrix=write_matrix,
    )


@pytest.fixture
def edit_json():
    """Change a JSON file in place: edit_json(path, change) where ``change`` gets its content."""

    def edit(path: Path, change) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own."""
    monkeypatch.setenv("TOOLBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
