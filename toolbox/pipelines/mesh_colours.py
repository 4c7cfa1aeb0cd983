"""Colours of a mesh's vertices, from the images that see them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from toolbox.datasets import LoadedView, load_view
from toolbox.fusion import TriangleMesh
from toolbox.geometry import project, sample_at_pixels, transform_points
from toolbox.rendering import DepthRenderer, RaycastRenderer
from toolbox.structures import View

_GREY = 128


def colour_mesh(
    mesh: TriangleMesh,
    views: Sequence[View],
    size: tuple[int, int] | None,
    tolerance: float,
    quiet: bool = False,
) -> TriangleMesh:
    """The mesh with the mean colour of the views that see each vertex; grey where none does.

    One image is in memory at a time.

    Args:
        mesh: with triangles.
        views: in the mesh's world.
        size: (height, width) at which images are read; None keeps the stored one.
        tolerance: a vertex is seen where it is no more than this behind the surface that the view sees, in the unit of
            the mesh.

    Raises:
        UserError: an image cannot be read.
    """
    renderer = RaycastRenderer()
    renderer.load((mesh.vertices, mesh.triangles))
    vertices = torch.from_numpy(mesh.vertices).double()
    total, count = torch.zeros(len(vertices), 3), torch.zeros(len(vertices))
    for view in tqdm(views, desc="colours", unit="view", disable=quiet, dynamic_ncols=True):
        loaded = load_view(view, size)
        seen, colours = _seen_colours(vertices, loaded, renderer, tolerance)
        total[seen] += colours
        count[seen] += 1
    mean = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], torch.tensor(float(_GREY)))
    return replace(mesh, rgb=mean.round().clamp(0, 255).to(torch.uint8).numpy())


def _seen_colours(
    vertices: Float[Tensor, "n 3"], loaded: LoadedView, renderer: DepthRenderer, tolerance: float
) -> tuple[Bool[Tensor, " n"], Float[Tensor, "m 3"]]:
    """Which vertices a view sees, and their colours (0 to 255)."""
    size = tuple(loaded.image.shape[-2:])
    depth = torch.from_numpy(renderer.render(loaded.intrinsics.numpy(), loaded.world_to_cam.numpy(), size))
    pixels, z = project(transform_points(loaded.world_to_cam, vertices), loaded.intrinsics)
    x, y = pixels.T
    seen = (z > 0) & (x > -0.5) & (x < size[1] - 0.5) & (y > -0.5) & (y < size[0] - 0.5)
    surface = depth[y[seen].round().long(), x[seen].round().long()]
    seen[seen.clone()] = (surface > 0) & (z[seen] <= surface + tolerance)
    colours = sample_at_pixels(loaded.image[None].float(), pixels[seen][None, None].float(), padding="border")
    return seen, colours[0, :, 0].T
