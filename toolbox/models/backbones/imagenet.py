"""What encoders trained on ImageNet share: how their input is normalised, and where their weights come from."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.io.weights import download_weights, is_address, read_weights

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize_rgb(
    images: Float[Tensor, "n 3 h w"], mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Float[Tensor, "n 3 h w"]:
    """(image - mean) / std, channel by channel; channels last in memory, where convolutions are fastest."""
    shift, scale = (images.new_tensor(values)[:, None, None] for values in (mean, std))
    return ((images - shift) / scale).contiguous(memory_format=torch.channels_last)


def load_imagenet_weights(encoder: nn.Module, weights: str | Path, unused: Sequence[str]) -> None:
    """Load a classifier's weights into its first layers.

    Args:
        weights: a file as torchvision publishes it (a state dict of the whole classifier), or its address.
        unused: beginnings of the names of layers that the encoder does without.

    Raises:
        UserError: the file cannot be had or read, or holds other weights.
    """
    path = download_weights(str(weights), check_hash=True) if is_address(weights) else weights
    published = read_weights(path)
    state = {name: value for name, value in published.items() if not name.startswith(tuple(unused))}
    own = encoder.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in own]
    different = [name for name in state if name in own and own[name].shape != state[name].shape]
    faults = [
        f"{len(found)} weights are {what} (e.g. {found[0]})"
        for found, what in ((missing, "missing"), (unknown, "unknown"), (different, "of another shape"))
        if found
    ]
    if faults:
        raise UserError(
            str(weights),
            f"are not the weights of this {type(encoder).__name__}: {' and '.join(faults)}",
            "Give the file that torchvision publishes for it",
        )
    encoder.load_state_dict(state, strict=False)
