"""Features of a view and a plane's disparity -> colour and density of the plane (MINE, Li et al., ICCV 2021)."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from toolbox.errors import UserError

_MIN_DENSITY = 1e-4


def embed_position(x: Float[Tensor, " n"], frequencies: int = 10) -> Float[Tensor, "n e"]:
    """(x, sin x, cos x, sin 2x, cos 2x, sin 4x ...): 1 + 2 * frequencies numbers."""
    angles = x[:, None] * 2.0 ** torch.arange(frequencies, device=x.device, dtype=x.dtype)
    waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    return torch.cat((x[:, None], waves), dim=1)


def _per_plane(values: Float[Tensor, "b c h w"], embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n _ h w"]:
    """A view's features beside the embedding of each of its planes."""
    repeated = values.repeat_interleave(len(embedding) // len(values), dim=0)
    return torch.cat((repeated, embedding[..., None, None].expand(-1, -1, *values.shape[-2:])), dim=1)


class _Block(nn.Sequential):
    """3 x 3 convolution over reflected edges, normalisation, ELU."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__(
            nn.Conv2d(channels, out_channels, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(out_channels),
            nn.ELU(),
        )


def _context_block(channels: int, out_channels: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.1),
    )


class MPIDecoder(nn.Module):
    """A U-shaped decoder, run once per plane with the plane's disparity embedded.

    Args:
        encoder_channels: of the features, finest first.
        channels: of the decoder at each of these levels, finest first: level i is twice as fine as features i.
        context_channels: of four layers that see farther, at a half and a quarter of the coarsest resolution.
        frequencies: see ``embed_position``.
        output_levels: levels with an output, 0 the finest; levels finer than all of these are not computed.
        checkpoint_levels: in training, keep only what passes from level to level for the backward pass, and compute a
            level again there: less memory for more time.

    Raises:
        UserError: not as many channels as levels, or no output at a level that there is.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        channels: Sequence[int] = (16, 32, 64),
        context_channels: Sequence[int] = (512, 256, 256, 128),
        frequencies: int = 10,
        output_levels: Sequence[int] = (0,),
        checkpoint_levels: bool = False,
    ):
        super().__init__()
        levels = len(encoder_channels)
        if len(channels) != levels or not output_levels or not set(output_levels) <= set(range(levels)):
            raise UserError(
                f"MPIDecoder(channels={tuple(channels)}, output_levels={tuple(output_levels)})",
                f"does not fit an encoder of {levels} levels",
                f"Give {levels} channels, and outputs out of levels 0 to {levels - 1}",
            )
        self.frequencies, self.finest, self.checkpoint_levels = frequencies, min(output_levels), checkpoint_levels
        embedded = 1 + 2 * frequencies
        sizes = (1, 3, 3, 1)
        incoming = [encoder_channels[-1], *context_channels[:-1]]
        self.context = nn.ModuleList(map(_context_block, incoming, context_channels, sizes))
        self.before, self.after = nn.ModuleList(), nn.ModuleList()
        for level, out_channels in enumerate(channels):
            if level < self.finest:  # keeps the place of the level's weights
                self.before.append(nn.Identity())
                self.after.append(nn.Identity())
                continue
            coarser = channels[level + 1] if level + 1 < levels else context_channels[-1] + embedded
            skipped = encoder_channels[level - 1] + embedded if level else 0
            self.before.append(_Block(coarser, out_channels))
            self.after.append(_Block(out_channels + skipped, out_channels))
        self.outputs = nn.ModuleDict(
            {str(i): nn.Conv2d(channels[i], 4, 3, padding=1, padding_mode="reflect") for i in output_levels}
        )

    def forward(
        self, features: Sequence[Float[Tensor, "b _ _ _"]], disparities: Float[Tensor, "b d"]
    ) -> dict[int, Float[Tensor, "b d 4 _ _"]]:
        """Colour in [0, 1] and density > 0 of each plane, per output level.

        Args:
            features: finest first.
            disparities: in full precision, which the embedding's high frequencies need.
        """
        batch, planes = disparities.shape
        embedding = embed_position(disparities.flatten(), self.frequencies).to(features[-1].dtype)
        again = self.checkpoint_levels and self.training and torch.is_grad_enabled()
        x, outputs = _per_plane(self._context(features[-1]), embedding), {}
        for level in reversed(range(self.finest, len(features))):
            inputs = (level, x, features[level - 1] if level else None, embedding)
            if again:
                contexts = {"context_fn": lambda: (contextlib.nullcontext(), self._statistics_kept())}
                x, values = checkpoint(self._level, *inputs, use_reentrant=False, **contexts)
            else:
                x, values = self._level(*inputs)
            if values is not None:
                outputs[level] = values.unflatten(0, (batch, planes))
        return outputs

    def _level(
        self,
        level: int,
        x: Float[Tensor, "n c h w"],
        skipped: Float[Tensor, "b _ _ _"] | None,
        embedding: Float[Tensor, "n e"],
    ) -> tuple[Float[Tensor, "n _ _ _"], Float[Tensor, "n 4 _ _"] | None]:
        """All planes at the level, and their output where it has one."""
        x = self.before[level](x)
        if skipped is not None:
            x = torch.cat((F.interpolate(x, size=skipped.shape[-2:]), _per_plane(skipped, embedding)), dim=1)
        else:
            x = F.interpolate(x, scale_factor=2)
        x = self.after[level](x)
        if str(level) not in self.outputs:
            return x, None
        raw = self.outputs[str(level)](x)
        return x, torch.cat((raw[:, :3].sigmoid(), raw[:, 3:].abs() + _MIN_DENSITY), dim=1)

    @contextlib.contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """Normalisation by the batch without counting it into the running statistics, which it was before."""
        norms = [module for module in self.modules() if isinstance(module, _BatchNorm)]
        before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, (momentum, batches) in zip(norms, before, strict=True):
                norm.momentum = momentum
                norm.num_batches_tracked.copy_(batches)

    def _context(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The coarsest features with the surroundings of each pixel, at the same resolution."""
        x = features
        for layer in self.context[:2]:
            x = layer(F.max_pool2d(x, 3, stride=2, padding=1))
        for layer in self.context[2:]:
            x = layer(F.interpolate(x, scale_factor=2))
        return F.interpolate(x, size=features.shape[-2:])
