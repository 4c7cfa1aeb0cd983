"""Gated recurrent unit on points of a sparse volume (NeuralRecon, section 3.3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.registry import NECKS
from toolbox.sparse import Conv3d, PointTensor, SparseTensor, devoxelize, points_to_voxels, voxelize

from .published_rows import mistaken_rows


class PointConv(nn.Module):
    """A sparse 3x3x3 convolution of points' voxels, brought back to the points, plus a linear layer of each point."""

    def __init__(self, before: int, after: int, backend: str | None = None):
        super().__init__()
        self.conv = Conv3d(before, after, backend=backend)
        self.linear = nn.Linear(before, after)

    def forward(self, points: PointTensor, feats: Float[Tensor, "n c"], voxels: SparseTensor) -> Float[Tensor, "n d"]:
        """Other features at the same points; ``voxels`` are those that the points lie in."""
        points = points.replace(feats)
        filtered = self.conv(points_to_voxels(points, voxels))
        return devoxelize(filtered, points).feats + self.linear(feats)

    def scrambled(
        self, points: PointTensor, feats: Float[Tensor, "n c"], voxels: SparseTensor, voxel_size: float
    ) -> Float[Tensor, "n d"]:
        """The same as the published reset gate does it.

        Points are divided by the voxel size once more, and brought back from the rows that the voxels they should have
        been in have in torchsparse's order.
        """
        again = points.replace(feats).in_voxels(voxel_size)
        filtered = self.conv(voxelize(again))
        return devoxelize(mistaken_rows(filtered, voxels), points).feats + self.linear(feats)


@NECKS.register_module()
class ConvGRU(nn.Module):
    """h' = (1 - z) h + z q with z = sigmoid(conv [h, x]), r = sigmoid(conv [h, x]), q = tanh(conv [r h, x]).

    Args:
        channels: of the hidden state and of the output.
        in_channels: of the input; None: as many.
        voxel_size: edge of the voxels that points are averaged in, in the unit of their coordinates.
        backend: of the sparse convolutions; see ``toolbox.sparse.get_backend``.
        published_scrambled_rows: compute the reset gate as the published NeuralRecon and MonoSelfRecon do, whose
            convolution for it takes other voxels and mixes up their rows (``PointConv.scrambled``).
    """

    def __init__(
        self,
        channels: int,
        in_channels: int | None = None,
        voxel_size: float = 0.04,
        backend: str | None = None,
        published_scrambled_rows: bool = False,
    ):
        super().__init__()
        both = channels + (channels if in_channels is None else in_channels)
        self.voxel_size = voxel_size
        self.published_scrambled_rows = published_scrambled_rows
        self.update = PointConv(both, channels, backend)
        self.reset = PointConv(both, channels, backend)
        self.candidate = PointConv(both, channels, backend)

    def forward(self, hidden: PointTensor, inputs: Float[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """The new hidden state.

        Args:
            hidden: the old one, 0 at points that had none, in the frame of the voxels.
            inputs: at the same points.
        """
        points, state = hidden.in_voxels(self.voxel_size), hidden.feats
        voxels = voxelize(points.replace(state[:, :0]))
        both = torch.cat((state, inputs), dim=1)
        update = torch.sigmoid(self.update(points, both, voxels))
        if self.published_scrambled_rows:
            reset = torch.sigmoid(self.reset.scrambled(points, both, voxels, self.voxel_size))
        else:
            reset = torch.sigmoid(self.reset(points, both, voxels))
        candidate = torch.tanh(self.candidate(points, torch.cat((reset * state, inputs), dim=1), voxels))
        return (1 - update) * state + update * candidate
