"""Depth by OpenGL without a display, with pyrender."""

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float32, Float64, UInt32

from toolbox.errors import UserError
from toolbox.registry import RENDERERS

from .depth_renderer import DepthRenderer

_MARGIN = 1e-3  # of the near and far planes, relative
_NEAREST = 1e-3  # near plane over far plane at the least: for the precision of the depth buffer
_TO_OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])


@RENDERERS.register_module()
class PyrenderRenderer(DepthRenderer):
    """Depth by OpenGL through EGL, on a GPU or with Mesa on the CPU; no skew.

    The near and far planes follow the mesh's depths in each view. Where the mesh reaches behind the camera, surfaces
    nearer than a thousandth of its largest depth are not seen: 24 bits of depth could not tell the others apart. An
    OpenGL context lives for one view only: nothing is left open, and renderers do not share state.

    ``PYOPENGL_PLATFORM`` (egl or osmesa) and ``EGL_DEVICE_ID`` are respected where they are set; else it is the first
    EGL device on which a context can be made, or OSMesa where there is no libEGL.
    """

    def _set_mesh(self, vertices: Float32[np.ndarray, "n 3"], triangles: UInt32[np.ndarray, "m 3"]) -> None:
        _platform()
        # pyrender culls back faces whenever it draws without materials, SKIP_CULL_FACES or not: draw both sides.
        self._vertices, self._triangles = vertices, np.concatenate((triangles, triangles[:, ::-1]))

    def _depth(
        self,
        intrinsics: Float64[np.ndarray, "3 3"],
        mesh_to_cam: Float64[np.ndarray, "4 4"],
        size: tuple[int, int],
        far: float,
    ) -> Float32[np.ndarray, "h w"]:
        if intrinsics[0, 1] != 0:
            raise UserError(
                "the intrinsics",
                f"have a skew of {intrinsics[0, 1]}, which PyrenderRenderer does not support",
                "Use type='RaycastRenderer'",
            )
        depths = self._vertices @ mesh_to_cam[2, :3] + mesh_to_cam[2, 3]
        z_far = min(float(depths.max()), far) * (1 + _MARGIN)
        z_near = max(float(depths.min()) * (1 - _MARGIN), z_far * _NEAREST)
        if z_far <= z_near:  # all of it is behind the camera, or beyond the limit
            return np.zeros(size, np.float32)
        return self._draw(intrinsics, mesh_to_cam, size, z_near, z_far)

    def _draw(
        self, intrinsics: np.ndarray, mesh_to_cam: np.ndarray, size: tuple[int, int], z_near: float, z_far: float
    ) -> Float32[np.ndarray, "h w"]:
        """The depth between two planes, 0 elsewhere."""
        with _environment(_platform()):
            import pyrender

            (fx, _, cx), (_, fy, cy), _ = intrinsics
            # pyrender's image begins at the corner of the first pixel, not at its centre.
            camera = pyrender.IntrinsicsCamera(fx, fy, cx + 0.5, cy + 0.5, znear=z_near, zfar=z_far)
            mesh = pyrender.Mesh([pyrender.Primitive(positions=self._vertices, indices=self._triangles, mode=4)])
            scene = pyrender.Scene()
            scene.add(camera, pose=np.linalg.inv(mesh_to_cam) @ _TO_OPENGL_AXES)
            node = scene.add(mesh)
            flags = pyrender.RenderFlags
            # SEG is the only way to turn multisampling off, which takes depth beside the pixel's centre.
            flags = flags.DEPTH_ONLY | flags.SEG
            height, width = size
            context = pyrender.OffscreenRenderer(width, height)
            try:
                return np.array(context.render(scene, flags, seg_node_map={node: (255, 255, 255)}), np.float32)
            finally:
                context.delete()


@functools.cache
def _platform() -> dict[str, str]:
    """Environment variables with which pyrender makes a context.

    Raises:
        UserError: there are none.
    """
    failures = []
    for variables in _candidates():
        try:
            with _environment(variables):
                import pyrender

                pyrender.OffscreenRenderer(8, 8).delete()
        except Exception as error:  # of PyOpenGL, pyrender or the dynamic linker
            failures.append(f"{' '.join(variables.values())}: {type(error).__name__} {error}".strip())
            continue
        return variables
    raise UserError(
        "PyrenderRenderer",
        f"cannot make an OpenGL context without a display ({'; '.join(failures) or 'libEGL finds no device'})",
        "Install the Debian packages libegl1, libegl-mesa0 and libgl1-mesa-dri, or use type='RaycastRenderer', which "
        "needs no OpenGL",
    )


def _candidates() -> Iterator[dict[str, str]]:
    """Settings to try: what the user has chosen, else each EGL device, else OSMesa."""
    platform = os.environ.get("PYOPENGL_PLATFORM")
    if platform not in ("egl", "osmesa"):
        platform = "egl" if _has_egl() else "osmesa"
    if platform == "osmesa":
        yield {"PYOPENGL_PLATFORM": platform}
        return
    if "EGL_DEVICE_ID" in os.environ:
        yield {"PYOPENGL_PLATFORM": platform, "EGL_DEVICE_ID": os.environ["EGL_DEVICE_ID"]}
        return
    with _environment({"PYOPENGL_PLATFORM": platform}):
        from pyrender.platforms import egl
    for device in range(len(egl.query_devices())):
        yield {"PYOPENGL_PLATFORM": platform, "EGL_DEVICE_ID": str(device)}


def _has_egl() -> bool:
    # Asked of the linker: PyOpenGL, once imported for a platform, cannot change to another.
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for a while; pyrender and PyOpenGL read theirs at import and for each context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
