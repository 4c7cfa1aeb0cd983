"""Sparse tensors to dense volumes and back."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolbox.errors import UserError

from .tensor import SparseTensor


def to_dense(
    x: SparseTensor,
    shape: tuple[int, int, int],
    origin: tuple[int, int, int] = (0, 0, 0),
    batch_size: int | None = None,
    fill: float = 0.0,
) -> Float[Tensor, "b c x y z"]:
    """A volume with the features at their voxels and ``fill`` elsewhere.

    Args:
        shape: of the volume along x, y, z, in voxels of the tensor's stride.
        origin: of the volume's first voxel, in voxels of stride 1.
        batch_size: at least the tensor's own, which is the default.

    Raises:
        UserError: voxels lie outside the volume.
    """
    size = x.batch_size if batch_size is None else batch_size
    place = (x.coords[:, 1:] - x.coords.new_tensor(origin)).div(x.stride, rounding_mode="floor").long()
    batch = x.coords[:, 0].long()
    outside = ((place < 0) | (place >= place.new_tensor(shape))).any(dim=1) | (batch >= size)
    if bool(outside.any()):
        raise UserError(
            "to_dense",
            f"{int(outside.sum())} of {len(x)} voxels lie outside {size} volumes of {tuple(shape)} at {tuple(origin)}",
            "Use a larger shape or another origin, or remove these voxels",
        )
    volume = x.feats.new_full((size, *shape, x.feats.shape[1]), fill)
    volume = volume.index_put((batch, *place.unbind(dim=1)), x.feats)
    return volume.permute(0, 4, 1, 2, 3)


def from_dense(
    volume: Float[Tensor, "b c x y z"],
    mask: Bool[Tensor, "b x y z"] | None = None,
    origin: tuple[int, int, int] = (0, 0, 0),
    stride: int = 1,
) -> SparseTensor:
    """The voxels of a volume where ``mask`` is set (by default: where a channel is not 0), sorted.

    Args:
        origin: of the volume's first voxel, in voxels of stride 1.
        stride: of the volume's voxels.
    """
    if mask is None:
        mask = (volume != 0).any(dim=1)
    batch, x, y, z = mask.nonzero(as_tuple=True)
    coords = torch.stack((batch, *(o + stride * axis for o, axis in zip(origin, (x, y, z), strict=True))), dim=1)
    return SparseTensor(coords.int(), volume.permute(0, 2, 3, 4, 1)[batch, x, y, z], stride)
