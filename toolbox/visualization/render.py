"""Meshes and clouds as pictures, without OpenGL: rays on the CPU for meshes, splats in a z-buffer for clouds."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int, Num, Shaped, UInt8

from toolbox.errors import UserError

_BACKGROUND = (255, 255, 255)
_MAX_LAYERS = 12  # surfaces seen from behind that a ray may pass

MeshArrays = tuple[Num[np.ndarray, "n 3"], Num[np.ndarray, "m 3"], UInt8[np.ndarray, "n 3"] | None]
CloudArrays = tuple[Num[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"] | None]


def render_mesh(
    mesh: str | Path | MeshArrays,
    intrinsics: Num[np.ndarray, "3 3"],
    world_to_cam: Num[np.ndarray, "4 4"],
    size: tuple[int, int],
    shading: str = "lit",
    cull_back: bool = False,
    background: tuple[int, int, int] = _BACKGROUND,
    supersample: int = 1,
) -> UInt8[np.ndarray, "h w 3"]:
    """A mesh seen by a camera.

    Args:
        mesh: a file, or (vertices, triangles, RGB of the vertices or None).
        intrinsics, world_to_cam: the camera, OpenCV axes, pixel centres integers.
        size: (height, width).
        shading: 'lit' (colours under a light at the camera), 'colour' (colours alone), 'shape' (grey, lit).
        cull_back: look through triangles seen from behind (counter-clockwise is the front), as into a doll's house.
        supersample: rays per pixel in each direction.

    Raises:
        UserError: the file cannot be read, or holds no triangles.
    """
    if shading not in ("lit", "colour", "shape"):
        raise ValueError(f"shading is 'lit', 'colour' or 'shape', not '{shading}'")
    vertices, triangles, rgb = mesh if isinstance(mesh, tuple) else _read_mesh(mesh)
    origin, directions = _rays(intrinsics, world_to_cam, size, supersample)
    hit, triangle, weights, normals = _first_hits(vertices, triangles, origin, directions, cull_back)
    colours = np.full((len(hit), 3), 200.0)
    if rgb is not None and shading != "shape":
        colours = np.einsum("nk,nkc->nc", weights, rgb[triangles[triangle]].astype(np.float64))
    if shading != "colour":
        rays = directions[hit] / np.linalg.norm(directions[hit], axis=1, keepdims=True)
        colours *= 0.35 + 0.65 * np.abs(np.einsum("nc,nc->n", normals, rays))[:, None]
    picture = np.tile(np.array(background, np.float64), (len(directions), 1))
    picture[hit] = colours
    height, width = size
    picture = picture.reshape(height, supersample, width, supersample, 3).mean(axis=(1, 3))
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def _read_mesh(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    import open3d as o3d

    if not Path(path).is_file():
        raise UserError(path, "does not exist", "Check the path")
    mesh = o3d.io.read_triangle_mesh(str(path))
    if not len(mesh.triangles):
        raise UserError(
            path, "holds no triangles, or cannot be read as a mesh", "Give a PLY, OBJ, STL, OFF or GLB mesh"
        )
    rgb = np.rint(np.asarray(mesh.vertex_colors) * 255).astype(np.uint8) if mesh.has_vertex_colors() else None
    return np.asarray(mesh.vertices), np.asarray(mesh.triangles), rgb


def _rays(
    intrinsics: np.ndarray, world_to_cam: np.ndarray, size: tuple[int, int], supersample: int
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "n 3"]]:
    """Origin and directions in the world, row by row of the (supersampled) picture; a direction's z-depth is 1."""
    height, width = size
    rows, columns = ((np.arange(n * supersample) + 0.5) / supersample - 0.5 for n in (height, width))
    x, y = np.meshgrid(columns, rows)
    pixels = np.stack((x.ravel(), y.ravel(), np.ones(x.size)), axis=1)
    rotation = np.asarray(world_to_cam, np.float64)[:3, :3]
    directions = pixels @ np.linalg.inv(intrinsics).T @ rotation
    return -rotation.T @ world_to_cam[:3, 3], directions


def _first_hits(
    vertices: np.ndarray, triangles: np.ndarray, origin: np.ndarray, directions: np.ndarray, cull_back: bool
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Rays that hit something, the triangle of each, barycentric weights of its corners, and its normal."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(triangles, np.uint32)),
    )
    active = np.arange(len(directions))
    start = np.zeros(len(directions))
    found: list[tuple[np.ndarray, ...]] = []
    for _ in range(_MAX_LAYERS if cull_back else 1):
        origins = origin + start[active, None] * directions[active]
        rays = np.concatenate((origins, directions[active]), axis=1).astype(np.float32)
        answer = {key: value.numpy() for key, value in scene.cast_rays(o3d.core.Tensor(rays)).items()}
        distance, normals = answer["t_hit"].astype(np.float64), answer["primitive_normals"].astype(np.float64)
        struck = np.isfinite(distance)
        behind = struck & (np.einsum("nc,nc->n", normals, directions[active]) > 0) & cull_back
        seen = struck & ~behind
        second, third = answer["primitive_uvs"][seen].T.astype(np.float64)
        weights = np.stack((1 - second - third, second, third), axis=1)
        found.append((active[seen], answer["primitive_ids"][seen].astype(np.int64), weights, normals[seen]))
        start[active[behind]] += distance[behind] * (1 + 1e-5) + 1e-9
        active = active[behind]
        if not len(active):
            break
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def render_cloud(
    cloud: str | Path | CloudArrays,
    intrinsics: Num[np.ndarray, "3 3"],
    world_to_cam: Num[np.ndarray, "4 4"],
    size: tuple[int, int],
    radius_px: int = 1,
    background: tuple[int, int, int] = _BACKGROUND,
) -> UInt8[np.ndarray, "h w 3"]:
    """A point cloud seen by a camera: each point a disc of ``radius_px`` pixels, the nearest in front.

    Args:
        cloud: a file, or (points, RGB or None).
        intrinsics, world_to_cam: the camera, OpenCV axes, pixel centres integers.
        size: (height, width).
        radius_px: 0 is one pixel.

    Raises:
        UserError: the file cannot be read, or holds no points.
    """
    xyz, rgb = cloud if isinstance(cloud, tuple) else _read_cloud(cloud)
    x, y, depth, kept = _pixels(xyz, intrinsics, world_to_cam)
    order = np.argsort(-depth, kind="stable")  # far to near: later points overwrite
    x, y, depth, kept = x[order], y[order], depth[order], kept[order]
    height, width = size
    nearest = np.full(height * width, np.inf)
    owner = np.full(height * width, -1, np.int64)
    for dy in range(-radius_px, radius_px + 1):
        for dx in range(-radius_px, radius_px + 1):
            if dx * dx + dy * dy <= radius_px * radius_px + 0.5:
                _splat(x + dx, y + dy, depth, size, nearest, owner)
    picture = np.tile(np.array(background, np.uint8), (height * width, 1))
    colours = np.full((len(xyz), 3), 100, np.uint8) if rgb is None else rgb
    drawn = owner >= 0
    picture[drawn] = colours[kept[owner[drawn]]]
    return picture.reshape(height, width, 3)


def _read_cloud(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    import open3d as o3d

    if not Path(path).is_file():
        raise UserError(path, "does not exist", "Check the path")
    cloud = o3d.io.read_point_cloud(str(path))
    if not len(cloud.points):
        raise UserError(path, "holds no points, or cannot be read as a point cloud", "Give a PLY, PCD or XYZ file")
    rgb = np.rint(np.asarray(cloud.colors) * 255).astype(np.uint8) if cloud.has_colors() else None
    return np.asarray(cloud.points), rgb


def _pixels(
    xyz: Shaped[np.ndarray, "n 3"], intrinsics: np.ndarray, world_to_cam: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Column, row, depth and index of the points in front of the camera."""
    camera = xyz @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]
    kept = np.flatnonzero(camera[:, 2] > 1e-9)
    homogeneous = camera[kept] @ intrinsics.T
    # Far-off positions would not fit an integer; they are outside of any picture.
    position = np.clip(homogeneous[:, :2] / homogeneous[:, 2:], -1e6, 1e6)
    x, y = np.floor(position + 0.5).astype(np.int64).T
    return x, y, camera[kept, 2], kept


def _splat(
    x: np.ndarray, y: np.ndarray, depth: np.ndarray, size: tuple[int, int], nearest: np.ndarray, owner: np.ndarray
) -> None:
    """Write points, far to near, where they are nearer than what is there."""
    height, width = size
    inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
    pixel = y[inside] * width + x[inside]
    better = depth[inside] < nearest[pixel]
    pixel, inside = pixel[better], inside[better]
    nearest[pixel] = depth[inside]
    owner[pixel] = inside


def look_at(
    eye: Num[np.ndarray, "3"], target: Num[np.ndarray, "3"], up: Num[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """world_to_cam of a camera at ``eye`` that looks at ``target``, with ``up`` upwards in the picture.

    Raises:
        ValueError: the eye is at the target, or looks along ``up``.
    """
    forward = np.asarray(target, np.float64) - eye
    right = np.cross(forward, up)
    if np.linalg.norm(forward) < 1e-12 or np.linalg.norm(right) < 1e-12 * np.linalg.norm(forward):
        raise ValueError("a camera cannot look at its own position, nor along its up direction")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    world_to_cam = np.eye(4)
    world_to_cam[:3, :3] = np.stack((right, np.cross(forward, right), forward))
    world_to_cam[:3, 3] = -world_to_cam[:3, :3] @ eye
    return world_to_cam


def overview_camera(
    cameras: Num[np.ndarray, "v 4 4"],
    xyz: Num[np.ndarray, "n 3"],
    size: tuple[int, int],
    elevation_degrees: float = 25.0,
    azimuth_degrees: float = 30.0,
    field_of_view_degrees: float = 45.0,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
    """A camera outside of the scene that sees all of it, from the side the cameras looked from.

    Args:
        cameras: world_to_cam of the scene's views; their mean upwards direction is up in the picture.
        xyz: the scene's points (a sample is enough); the central 98 % along each axis count.
        size: (height, width) of the picture.
        elevation_degrees, azimuth_degrees: how far above and beside the cameras' mean viewing direction.

    Returns:
        Intrinsics and world_to_cam.
    """
    up = _unit(-cameras[:, 1, :3].mean(0), fallback=-cameras[0, 1, :3])
    forward = cameras[:, 2, :3].mean(0)
    forward = _unit(forward - up * (forward @ up), fallback=np.cross(up, cameras[0, 0, :3]))
    side = np.cross(forward, up)
    azimuth, elevation = np.radians((azimuth_degrees, elevation_degrees))
    level = np.cos(azimuth) * forward + np.sin(azimuth) * side
    direction = np.cos(elevation) * level - np.sin(elevation) * up
    low, high = np.quantile(xyz, (0.01, 0.99), axis=0)
    height, width = size
    focal = 0.5 * width / np.tan(np.radians(field_of_view_degrees) / 2)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    inside = ((xyz >= low) & (xyz <= high)).all(axis=1)
    rotation = look_at(-direction, np.zeros(3), up)[:3, :3]
    seen = (xyz[inside] if inside.any() else xyz) @ rotation.T
    middle = (seen.min(0) + seen.max(0)) / 2
    seen = seen - middle
    # The nearest position from which each point falls within the central 94 % of the picture.
    distance = np.max(np.abs(seen[:, :2]) * focal / (0.47 * np.array([width, height])) - seen[:, 2:])
    target = middle @ rotation
    return intrinsics, look_at(target - max(float(distance), 1e-6) * direction, target, up)


def _unit(vector: np.ndarray, fallback: np.ndarray) -> Float[np.ndarray, "3"] | Float32[np.ndarray, "3"]:
    """The vector at length 1; the fallback where it vanishes (cameras that look all around)."""
    length = np.linalg.norm(vector)
    return vector / length if length > 1e-6 else fallback / np.linalg.norm(fallback)
