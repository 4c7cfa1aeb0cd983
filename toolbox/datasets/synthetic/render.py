"""Ray casting of a scene model: exact depth at pixel centres, shaded linear radiance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float32, Int64, UInt8

from .model import Lighting, SceneModel, Shape, merge, vertex_normals
from .noise import rotate
from .rigs import Camera
from .sensor import tone

# Difference of the square root of the radiance that asks for several rays in a pixel.
_CONTRAST = 0.22
_SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


@dataclass(frozen=True)
class Rendering:
    """What a camera sees.

    Attributes:
        depth: z-depth at the pixel centres, 0 where no body is met.
        radiance: linear RGB, one image per lighting asked for.
    """

    depth: Float32[np.ndarray, "h w"]
    radiance: Float32[np.ndarray, "k h w 3"]


@dataclass(frozen=True)
class _Hits:
    """Where rays meet bodies, ordered by body; misses are left out."""

    ray: Int64[np.ndarray, " n"]
    depth: Float32[np.ndarray, " n"]
    body: Int64[np.ndarray, " n"]
    points: Float32[np.ndarray, "3 n"]
    normals: Float32[np.ndarray, "3 n"]
    openness: Float32[np.ndarray, " n"]


def _dot(a: Float32[np.ndarray, "3 n"], b: Float32[np.ndarray, "3 n"]) -> Float32[np.ndarray, " n"]:
    """Dot products of columns; faster than a sum over the short axis."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(vectors: Float32[np.ndarray, "3 n"]) -> Float32[np.ndarray, "3 n"]:
    return vectors / np.maximum(np.sqrt(_dot(vectors, vectors)), np.float32(1e-9))


def _tensor(array: np.ndarray) -> o3d.core.Tensor:
    return o3d.core.Tensor(np.ascontiguousarray(array))


def _sphere_directions(count: int) -> Float32[np.ndarray, "n 3"]:
    """Evenly spread unit directions (a Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, index * np.pi * (1 + 5**0.5)
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1).astype(np.float32)


class Renderer:
    """Casts rays into one scene model.

    Args:
        model: what to look at.
        occlusion_directions: directions over the whole sphere in which every vertex looks for surroundings that hide
            the ambient light.
    """

    def __init__(self, model: SceneModel, occlusion_directions: int = 64):
        self.model = model
        shape = merge([body.shape for body in model.bodies])
        self.shape = Shape(shape.vertices.astype(np.float32), shape.triangles)
        self._body_of_triangle = np.repeat(
            np.arange(len(model.bodies)), [len(body.shape.triangles) for body in model.bodies]
        )
        # One thread: the order of the tree decides ties on shared edges, and must not depend on the machine's load.
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(_tensor(self.shape.vertices), _tensor(shape.triangles.astype(np.uint32)))
        self._bias = np.float32(1e-3 * model.occlusion_radius)
        normals = vertex_normals(shape).astype(np.float32)
        self._attributes = np.column_stack([normals, self._openness(normals, occlusion_directions)])

    def render(self, camera: Camera, lightings: Sequence[int]) -> Rendering:
        """The view of ``camera`` under each of the model's lightings named by index."""
        height, width = camera.size
        lights = [self.model.lightings[index] for index in lightings]
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        hits, radiance = self._trace(camera, x.ravel(), y.ravel(), lights)
        depth = np.zeros(height * width, np.float32)
        depth[hits.ray] = hits.depth
        edges = np.flatnonzero(self._edges(hits, radiance[0], camera.size))
        if edges.size:
            samples_x = np.concatenate([x.ravel()[edges] + dx for dx, _ in _SUBPIXELS])
            samples_y = np.concatenate([y.ravel()[edges] + dy for _, dy in _SUBPIXELS])
            _, finer = self._trace(camera, samples_x, samples_y, lights)
            radiance[:, :, edges] = finer.reshape(len(lights), 3, len(_SUBPIXELS), -1).mean(axis=2)
        images = radiance.reshape(len(lights), 3, height, width).transpose(0, 2, 3, 1)
        return Rendering(depth.reshape(height, width), np.ascontiguousarray(images))

    def visible_mesh(self, cameras: Sequence[Camera]) -> tuple[Shape, UInt8[np.ndarray, "n 3"]]:
        """The triangles whose centre at least one camera sees, and the albedo of their vertices as RGB."""
        centres = self.shape.vertices[self.shape.triangles].mean(axis=1)
        seen = np.zeros(len(centres), bool)
        for camera in cameras:
            candidates = np.flatnonzero(~seen)
            candidates = candidates[in_frame(camera, centres[candidates])]
            to_camera = camera.centre.astype(np.float32) - centres[candidates]
            # From just off the surface, up to the camera.
            rays = np.concatenate([centres[candidates] + 1e-3 * to_camera, to_camera], axis=1)
            hidden = self._scene.test_occlusions(_tensor(rays), tnear=0.0, tfar=0.999).numpy()
            seen[candidates[~hidden]] = True
        used, index = np.unique(self.shape.triangles[seen], return_inverse=True)
        return Shape(self.shape.vertices[used], index.reshape(-1, 3)), self._vertex_colours()[used]

    def _vertex_colours(self) -> UInt8[np.ndarray, "n 3"]:
        normals, blocks, start = self._attributes[:, :3].T, [], 0
        for body in self.model.bodies:
            part = slice(start, start := start + len(body.shape.vertices))
            points = self.shape.vertices[part].T - body.origin[:, None].astype(np.float32)
            # Vertices are far apart: of the pattern's detail only what is coarser than that.
            footprint = np.full(points.shape[1], 0.02 * self.model.occlusion_radius, np.float32)
            own, own_normals = rotate(body.rotation.T, points), rotate(body.rotation.T, normals[:, part])
            blocks.append(body.material.pattern(own, own_normals, footprint))
        return tone(np.concatenate(blocks, axis=1).T)

    def _trace(
        self, camera: Camera, x: np.ndarray, y: np.ndarray, lights: list[Lighting]
    ) -> tuple[_Hits, Float32[np.ndarray, "k 3 n"]]:
        """Hits and radiance of the rays through the pixel positions."""
        (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
        in_camera = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)]).astype(np.float32)
        # Directions of unit z-depth: the ray parameter of a hit is its z-depth.
        directions = rotate(camera.world_to_cam[:3, :3].T, in_camera)
        hits = self._cast(camera.centre.astype(np.float32), directions)
        toward_eye = _unit(-directions)
        radiance = np.empty((len(lights), 3, len(x)), np.float32)
        backdrop = self.model.backdrop(-toward_eye)
        for index, light in enumerate(lights):
            radiance[index] = backdrop * light.ambient[:, None].astype(np.float32)
        toward_eye = toward_eye[:, hits.ray]
        facing = np.maximum(_dot(toward_eye, hits.normals), 0.1)
        footprint = hits.depth / np.float32(fx) / np.sqrt(facing)
        radiance[:, :, hits.ray] = self._shade(hits, toward_eye, footprint, lights)
        return hits, radiance

    def _cast(self, origin: Float32[np.ndarray, " 3"], directions: Float32[np.ndarray, "3 n"]) -> _Hits:
        rays = np.empty((directions.shape[1], 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, directions.T
        answer = self._scene.cast_rays(_tensor(rays))
        ray = np.flatnonzero(np.isfinite(answer["t_hit"].numpy()))
        triangle = answer["primitive_ids"].numpy()[ray].astype(np.int64)
        body = self._body_of_triangle[triangle]
        order = np.argsort(body, kind="stable")
        ray, triangle, body = ray[order], triangle[order], body[order]
        depth = answer["t_hit"].numpy()[ray]
        u, v = answer["primitive_uvs"].numpy()[ray].T[:, :, None]
        corners = self._attributes[self.shape.triangles[triangle]]
        attributes = ((1 - u - v) * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2]).T
        directions = directions[:, ray]
        normals = _unit(attributes[:3])
        # A surface seen from behind is shaded like its front.
        normals = np.where(_dot(normals, directions) > 0, -normals, normals)
        return _Hits(ray, depth, body, origin[:, None] + directions * depth, normals, attributes[3])

    def _shade(
        self,
        hits: _Hits,
        toward_eye: Float32[np.ndarray, "3 n"],
        footprint: Float32[np.ndarray, " n"],
        lights: list[Lighting],
    ) -> Float32[np.ndarray, "k 3 n"]:
        albedo = np.empty_like(hits.points)
        gloss = np.empty((3, len(hits.body)), np.float32)
        bounds = np.searchsorted(hits.body, np.arange(len(self.model.bodies) + 1))
        for body, start, end in zip(self.model.bodies, bounds[:-1], bounds[1:], strict=True):
            if start == end:
                continue
            part = slice(start, end)
            own = rotate(body.rotation.T, hits.points[:, part] - body.origin[:, None].astype(np.float32))
            own_normals = rotate(body.rotation.T, hits.normals[:, part])
            albedo[:, part] = body.material.pattern(own, own_normals, footprint[part])
            material = body.material
            gloss[:, part] = np.array([[material.specular], [material.shininess], [material.emission]], np.float32)
        result = np.empty((len(lights), 3, len(hits.body)), np.float32)
        # Light from above is stronger than light from below.
        sky = hits.openness * (0.8 + 0.2 * hits.normals[2])
        for index, light in enumerate(lights):
            ambient = light.ambient[:, None].astype(np.float32)
            result[index] = albedo * (ambient * sky + gloss[2])
        for number, position in enumerate(self.model.lights.astype(np.float32)):
            users = [index for index, light in enumerate(lights) if light.weights[number].any()]
            if users:
                diffuse, highlight = self._illuminate(hits, toward_eye, gloss, position)
                received = albedo * diffuse + highlight
                for index in users:
                    result[index] += received * lights[index].weights[number][:, None].astype(np.float32)
        return result

    def _illuminate(
        self, hits: _Hits, toward_eye: np.ndarray, gloss: np.ndarray, position: np.ndarray
    ) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
        """Diffuse irradiance and highlight of one light of weight 1, 0 in its shadow."""
        offset = position[:, None] - hits.points
        square = _dot(offset, offset)
        toward_light = offset / np.sqrt(square)
        facing = _dot(toward_light, hits.normals)
        lit = np.flatnonzero(facing > 0)
        rays = np.empty((len(lit), 6), np.float32)
        rays[:, :3] = (hits.points[:, lit] + self._bias * hits.normals[:, lit]).T
        rays[:, 3:] = position - rays[:, :3]
        hidden = self._scene.test_occlusions(_tensor(rays), tnear=0.0, tfar=0.999).numpy()
        visible = np.zeros_like(facing)
        visible[lit[~hidden]] = 1
        softened = square + np.float32(self.model.light_radius**2)
        diffuse = visible * facing * (np.float32(self.model.reach**2) / softened)
        aligned = _dot(_unit(toward_light + toward_eye), hits.normals)
        highlight = np.zeros_like(facing)
        # Elsewhere the highlight is too faint to see.
        glossy = np.flatnonzero((aligned > 0.5) & (visible > 0) & (gloss[0] > 0))
        specular, shininess = gloss[0, glossy], gloss[1, glossy]
        lobe = np.minimum(aligned[glossy], 1) ** shininess
        highlight[glossy] = specular * (shininess + 8) / 8 * lobe * diffuse[glossy]
        return diffuse, highlight

    def _openness(self, normals: Float32[np.ndarray, "n 3"], directions: int) -> Float32[np.ndarray, " n"]:
        """Share of the ambient light that reaches every vertex."""
        open_light, all_light = np.zeros(len(normals), np.float32), np.full(len(normals), 1e-6, np.float32)
        start = self.shape.vertices + 2 * self._bias * normals
        for direction in _sphere_directions(directions):
            cosine = (normals * direction).sum(axis=1)
            above = np.flatnonzero(cosine > 0.02)
            rays = np.empty((len(above), 6), np.float32)
            rays[:, :3], rays[:, 3:] = start[above], direction
            hidden = self._scene.test_occlusions(_tensor(rays), tnear=0.0, tfar=self.model.occlusion_radius).numpy()
            all_light[above] += cosine[above]
            open_light[above] += np.where(hidden, 0, cosine[above])
        return open_light / all_light

    def _edges(
        self, hits: _Hits, radiance: Float32[np.ndarray, "3 n"], size: tuple[int, int]
    ) -> Bool[np.ndarray, "h w"]:
        """Pixels whose colour one ray does not represent: at borders of bodies, folds and strong contrasts."""
        count = size[0] * size[1]
        body, inverse = np.full(count, -1), np.zeros(count, np.float32)
        normals = np.zeros((3, count), np.float32)
        body[hits.ray], inverse[hits.ray], normals[:, hits.ray] = hits.body, 1 / hits.depth, hits.normals
        body, inverse = body.reshape(size), inverse.reshape(size)
        normals, light = normals.reshape(3, *size), np.sqrt(radiance.mean(axis=0)).reshape(size)
        edges = np.zeros(size, bool)
        for first, second in (
            (np.s_[:, :-1], np.s_[:, 1:]),
            (np.s_[:-1, :], np.s_[1:, :]),
        ):
            border = body[first] != body[second]
            border |= np.abs(inverse[first] - inverse[second]) > 0.03 * np.maximum(inverse[first], inverse[second])
            aligned = (normals[(slice(None), *first)] * normals[(slice(None), *second)]).sum(axis=0)
            border |= (aligned < 0.9) & (body[first] >= 0)
            border |= np.abs(light[first] - light[second]) > _CONTRAST
            edges[first] |= border
            edges[second] |= border
        return edges


def in_frame(camera: Camera, points: Float32[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Points inside the camera's image and in front of it."""
    in_camera = rotate(camera.world_to_cam[:3, :3], points.T) + camera.world_to_cam[:3, 3:].astype(np.float32)
    z = np.maximum(in_camera[2], 1e-9)
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    x, y = fx * in_camera[0] / z + cx, fy * in_camera[1] / z + cy
    height, width = camera.size
    return (in_camera[2] > 0) & (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
