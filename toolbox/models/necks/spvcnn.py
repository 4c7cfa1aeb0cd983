"""Sparse point-voxel network: a small sparse U-Net with two point branches beside it (NeuralRecon, after SPVNAS)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from toolbox.registry import NECKS
from toolbox.sparse import (
    BatchNorm,
    Conv3d,
    PointTensor,
    SparseTensor,
    cat,
    devoxelize,
    normalize_rows,
    points_to_voxels,
    voxelize,
)


class SparseConvBlock(nn.Module):
    """Sparse convolution, batch normalisation and, unless ``act`` is False, ReLU."""

    def __init__(self, before: int, after: int, kernel_size: int = 3, act: bool = True, **conv):
        super().__init__()
        self.conv = Conv3d(before, after, kernel_size, **conv)
        self.norm = BatchNorm(after)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Voxels as ``Conv3d`` gives them."""
        x = self.norm(self.conv(x))
        return x.replace(self.act(x.feats))


class SparseResidualBlock(nn.Module):
    """Two convolutions of size 3 beside the identity, or beside a convolution of size 1 where channels change."""

    def __init__(self, before: int, after: int, backend: str | None = None):
        super().__init__()
        self.conv1 = SparseConvBlock(before, after, backend=backend)
        self.conv2 = SparseConvBlock(after, after, act=False, backend=backend)
        changes = before != after
        self.skip = SparseConvBlock(before, after, 1, act=False, backend=backend) if changes else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The same voxels."""
        x = self.conv2(self.conv1(x)) + self.skip(x)
        return x.replace(self.act(x.feats))


def _residual_blocks(before: int, after: int, number: int, backend: str | None) -> nn.Sequential:
    return nn.Sequential(*(SparseResidualBlock(after if i else before, after, backend) for i in range(number)))


class _Down(nn.Module):
    """To the next coarser voxels, then residual blocks."""

    def __init__(self, before: int, after: int, blocks: int, backend: str | None):
        super().__init__()
        self.down = SparseConvBlock(before, before, 2, stride=2, backend=backend)
        self.blocks = _residual_blocks(before, after, blocks, backend)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.blocks(self.down(x))


class _Up(nn.Module):
    """To the next finer voxels, beside what was there before, then residual blocks."""

    def __init__(self, before: int, skipped: int, after: int, blocks: int, backend: str | None):
        super().__init__()
        self.up = SparseConvBlock(before, after, 2, stride=2, transposed=True, backend=backend)
        self.blocks = _residual_blocks(after + skipped, after, blocks, backend)

    def forward(self, x: SparseTensor, skipped: SparseTensor) -> SparseTensor:
        return self.blocks(cat((self.up(x), skipped)))


class _PointBranch(nn.Module):
    """Linear, batch normalisation, ReLU."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.linear = nn.Linear(before, after)
        self.norm = nn.BatchNorm1d(after)

    def forward(self, feats: Float[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        return normalize_rows(self.norm, self.linear(feats)).relu()


def _forget_running_stats(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None


@NECKS.register_module()
class SPVCNN(nn.Module):
    """Features at points -> features at the same points, filtered over voxels of three sizes.

    Points are averaged in voxels, go through a sparse U-Net with strides 1, 2 and 4, and come back by trilinear
    interpolation; at the coarsest and the finest voxels a branch that looks at each point alone is added.

    Args:
        in_channels: of the points.
        width: factor of all ``channels`` (rounded down); NeuralRecon's 1, 0.5 and 0.25 from coarse to fine.
        voxel_size: edge of the finest voxels, in the unit of the points' coordinates.
        channels: of the stem, the two coarser strides, and the two ways back; the published ones by default.
        blocks: residual blocks at each of the four strides after the stem.
        running_stats: False normalises every batch by itself, in evaluation as well. Statistics of training describe
            other fragments badly where each step sees a single one.
        backend: of the sparse convolutions; see ``toolbox.sparse.get_backend``.
    """

    def __init__(
        self,
        in_channels: int,
        width: float = 1.0,
        voxel_size: float = 0.04,
        channels: Sequence[int] = (32, 64, 128, 96, 96),
        blocks: int = 2,
        running_stats: bool = True,
        backend: str | None = None,
    ):
        super().__init__()
        stem, middle, coarse, middle_up, fine_up = (int(width * c) for c in channels)
        self.voxel_size = voxel_size
        self.out_channels = fine_up
        self.stem = SparseConvBlock(in_channels, stem, backend=backend)
        self.stage1 = _Down(stem, middle, blocks, backend)
        self.stage2 = _Down(middle, coarse, blocks, backend)
        self.up1 = _Up(coarse, middle, middle_up, blocks, backend)
        self.up2 = _Up(middle_up, stem, fine_up, blocks, backend)
        self.coarse_points = _PointBranch(stem, coarse)
        self.fine_points = _PointBranch(coarse, fine_up)
        if not running_stats:
            _forget_running_stats(self)

    def forward(self, points: PointTensor) -> PointTensor:
        """The points with ``out_channels`` features.

        Raises:
            UserError: coordinates are not finite, or beyond the range of voxels.
        """
        placed = points.in_voxels(self.voxel_size)
        stem = self.stem(voxelize(placed))
        at_points = devoxelize(stem, placed)
        middle = self.stage1(points_to_voxels(at_points, stem))
        coarse = self.stage2(middle)
        coarse_at_points = devoxelize(coarse, placed).feats + self.coarse_points(at_points.feats)
        up = self.up1(points_to_voxels(placed.replace(coarse_at_points), coarse), middle)
        up = self.up2(up, stem)
        return points.replace(devoxelize(up, placed).feats + self.fine_points(coarse_at_points))


def published_spvcnn_names(names: Sequence[str]) -> dict[str, str]:
    """NeuralRecon's and MonoSelfRecon's names of weights -> names in ``SPVCNN``; shapes are the same.

    Args:
        names: ours, as in the state dict.
    """
    return {_published(name): name for name in names}


def _published(name: str) -> str:
    block, *rest = name.split(".")
    if block == "coarse_points" or block == "fine_points":
        layer = {"linear": "0", "norm": "1"}[rest[0]]
        return f"point_transforms.{0 if block == 'coarse_points' else 1}.{layer}.{rest[1]}"
    leaf = "kernel" if rest[-2] == "conv" else rest[-1]
    layer = 0 if rest[-2] == "conv" else 1
    if block == "stem":
        return f"stem.{layer}.{leaf}"
    up = block.startswith("up")
    if rest[0] in ("down", "up"):
        return f"{block}.0.net.{layer}.{leaf}"
    index, part = int(rest[1]), rest[2]
    where = f"{block}.1.{index}" if up else f"{block}.{1 + index}"
    if part == "skip":
        return f"{where}.downsample.{layer}.{leaf}"
    return f"{where}.net.{layer + (3 if part == 'conv2' else 0)}.{leaf}"
