"""A small tabletop in memory: exact data for tests and examples."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from .render import Renderer
from .rigs import dome_rig
from .sensor import Sensor
from .tabletop import build_tabletop, triangle_edge


class Tabletop(NamedTuple):
    """Posed images with exact depth, in millimetres; depth 0 is background.

    Attributes:
        images: RGB.
        depths: z-depth at the pixel centres, within 425 to 935, or 0.
        intrinsics: per view (the same for all).
        world_to_cam: OpenCV axes.
    """

    images: UInt8[np.ndarray, "v h w 3"]
    depths: Float32[np.ndarray, "v h w"]
    intrinsics: Float64[np.ndarray, "v 3 3"]
    world_to_cam: Float64[np.ndarray, "v 4 4"]


def render_tabletop(
    seed: int = 0, views: int = 3, size: tuple[int, int] = (64, 80), sensor: Sensor | None = None
) -> Tabletop:
    """Objects on a table from cameras on a dome, under diffuse light.

    Args:
        seed: decides everything.
        views: number of cameras; neighbours are about 9 degrees apart.
        size: (height, width).
        sensor: imperfections of the camera; None for the default ones.
    """
    scene, rig, noise = np.random.SeedSequence(seed).spawn(3)
    cameras = dome_rig(np.random.default_rng(rig), views, size)
    edge = triangle_edge(float(cameras[0].intrinsics[0, 0]))
    renderer = Renderer(build_tabletop(np.random.default_rng(scene), lightings=1, edge=edge), occlusion_directions=32)
    noise_rng = np.random.default_rng(noise)
    sensor = sensor or Sensor()
    renderings = [renderer.render(camera, [0]) for camera in cameras]
    return Tabletop(
        images=np.stack([sensor.photograph(rendering.radiance[0], noise_rng) for rendering in renderings]),
        depths=np.stack([rendering.depth for rendering in renderings]),
        intrinsics=np.stack([camera.intrinsics for camera in cameras]),
        world_to_cam=np.stack([camera.world_to_cam for camera in cameras]),
    )
