"""One feature from several views' features of a voxel."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from toolbox.registry import NECKS


def mean_over_views(
    feats: Float[Tensor, "v n c"], valid: Bool[Tensor, "v n"], divide_twice: bool = False
) -> Float[Tensor, "n c"]:
    """Mean over the views that see a voxel, 0 where none does.

    Args:
        divide_twice: divide the mean by the number of views once more.
    """
    count = valid.sum(dim=0).clamp(min=1).to(feats.dtype)[:, None]
    mean = torch.where(valid[..., None], feats, 0).sum(dim=0) / count
    return mean / count if divide_twice else mean


def variance_over_views(feats: Float[Tensor, "v n c"], valid: Bool[Tensor, "v n"]) -> Float[Tensor, "n c"]:
    """Variance over the views that see a voxel, 0 where fewer than two do."""
    difference = torch.where(valid[..., None], feats - mean_over_views(feats, valid), 0)
    return difference.square().sum(dim=0) / valid.sum(dim=0).clamp(min=1).to(feats.dtype)[:, None]


@NECKS.register_module()
class MeanViewFusion(nn.Module):
    """The mean over the views that see a voxel (Atlas, NeuralRecon).

    Args:
        channels: of the features.
        variance: give the features' variance over the views as well, which tells whether they agree (MVSNet).
        published_double_division: divide the sum by the number of views twice, as the published MonoSelfRecon does.
    """

    def __init__(self, channels: int, variance: bool = False, published_double_division: bool = False):
        super().__init__()
        self.variance, self.out_channels = variance, channels * (2 if variance else 1)
        self.published_double_division = published_double_division

    def forward(self, feats: Float[Tensor, "v n c"], valid: Bool[Tensor, "v n"]) -> Float[Tensor, "n d"]:
        """Features of ``n`` voxels in each view, and which views see them."""
        mean = mean_over_views(feats, valid, self.published_double_division)
        return torch.cat((mean, variance_over_views(feats, valid)), dim=1) if self.variance else mean


class ViewAttentionLayer(nn.Module):
    """A pre-norm transformer layer: attention among a voxel's views, then two linear layers."""

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Float[Tensor, "n v c"]) -> Float[Tensor, "n v c"]:
        """Features of voxels that as many views see, each from those views."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value)
        x = x + self.projection(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


@NECKS.register_module()
class AttentionViewFusion(nn.Module):
    """Views look at each other, then their mean is taken (MonoSelfRecon, section 3.2).

    Each voxel is a sequence of its own with a token for each view that sees it; voxels that as many views see go
    through the transformer together.

    Args:
        channels: of the features; a multiple of ``num_heads``.
        num_layers, num_heads: of the transformer.
        variance: see ``MeanViewFusion``; of the features as they come.
        published_double_division: see ``MeanViewFusion``.
    """

    def __init__(
        self,
        channels: int,
        num_layers: int = 2,
        num_heads: int = 2,
        variance: bool = False,
        published_double_division: bool = False,
    ):
        super().__init__()
        self.variance, self.out_channels = variance, channels * (2 if variance else 1)
        self.layers = nn.ModuleList(ViewAttentionLayer(channels, num_heads) for _ in range(num_layers))
        self.published_double_division = published_double_division

    def attend(self, feats: Float[Tensor, "v n c"], valid: Bool[Tensor, "v n"]) -> Float[Tensor, "v n c"]:
        """Every view's features after the transformer; 0 where the view does not see the voxel."""
        count, flat = valid.sum(dim=0), feats.flatten(0, 1)
        places, attended = [], []
        # Without a voxel that is seen, an empty group: every weight gets a gradient.
        for number in count[count > 0].unique().tolist() or [1]:
            voxels = (count == number).nonzero()
            views = valid[:, voxels[:, 0]].T.nonzero()[:, 1].reshape(-1, number)
            places.append((views * valid.shape[1] + voxels).flatten())
            x = flat.index_select(0, places[-1]).unflatten(0, views.shape)
            for layer in self.layers:
                x = layer(x)
            attended.append(x.flatten(0, 1))
        attended = torch.cat(attended)
        everywhere = attended.new_zeros(flat.shape).index_copy(0, torch.cat(places), attended)
        return everywhere.unflatten(0, valid.shape)

    def forward(self, feats: Float[Tensor, "v n c"], valid: Bool[Tensor, "v n"]) -> Float[Tensor, "n d"]:
        """Features of ``n`` voxels in each view, and which views see them."""
        mean = mean_over_views(self.attend(feats, valid), valid, self.published_double_division)
        return torch.cat((mean, variance_over_views(feats, valid)), dim=1) if self.variance else mean
