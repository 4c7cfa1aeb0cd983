"""Names of the weights of NeuralRecon and MonoSelfRecon: theirs -> ours.

Their levels count from the coarsest, ours from the finest. Sparse kernels have one layout, see ``sparse.Conv3d``.
"""

from typing import Any

import torch

from toolbox.models.backbones import MnasNetFPN, ResNet18FPN
from toolbox.models.heads import MPIDecoder
from toolbox.models.necks.spvcnn import SPVCNN, published_spvcnn_names

LEVELS = 3
_KINDS = ("weight", "bias")
_VIEW_ATTENTION = {
    "norm1": "norm1",
    "attn.in_proj_": "qkv.",
    "attn.out_proj": "projection",
    "norm2": "norm2",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}
_MPI_CONTEXT = ("conv_down1", "conv_down2", "conv_up1", "conv_up2")
_MPI_BLOCK = ("conv.conv", "bn")
_MNASNET_PYRAMID = {
    "inner1": ("lateral_middle", _KINDS),
    "inner2": ("lateral_fine", _KINDS),
    "out1": ("out_coarse", _KINDS[:1]),
    "out2": ("out_middle", _KINDS[:1]),
    "out3": ("out_fine", _KINDS[:1]),
}


def view_attention_names(num_layers: int = 2) -> dict[str, str]:
    """Published names of one level's transformer over views -> names in ``AttentionViewFusion``."""
    names = {}
    for layer in range(num_layers):
        for published, ours in _VIEW_ATTENTION.items():
            for kind in _KINDS:
                theirs = f"{published}{kind}" if published.endswith("_") else f"{published}.{kind}"
                own = f"{ours}{kind}" if ours.endswith(".") else f"{ours}.{kind}"
                names[f"encoder_layers.{layer}.{theirs}"] = f"layers.{layer}.{own}"
    return names


def conv_gru_names() -> dict[str, str]:
    """Published names of one level's recurrent unit -> names in ``ConvGRU``."""
    names = {}
    for published, ours in (("convz", "update"), ("convr", "reset"), ("convq", "candidate")):
        names[f"{published}.net.kernel"] = f"{ours}.conv.weight"
        for kind in _KINDS:
            names[f"{published}.point_transforms.0.{kind}"] = f"{ours}.linear.{kind}"
    return names


def _spvcnn_names() -> dict[str, str]:
    return published_spvcnn_names(_state_names(SPVCNN, 1, 0.25))


def _prefixed(names: dict[str, str], theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{name}": f"{ours}.{own}" for name, own in names.items()}


def neck_and_head_names(attention: bool) -> dict[str, str]:
    """Published names in ``neucon_net`` -> names in a ``VolumetricReconstructor``.

    Args:
        attention: views are fused by attention.
    """
    names = {}
    for level in range(LEVELS):
        theirs = LEVELS - 1 - level
        names |= _prefixed(_spvcnn_names(), f"sp_convs.{theirs}", f"neck.networks.{level}")
        names |= _prefixed(conv_gru_names(), f"gru_fusion.fusion_nets.{theirs}", f"neck.fusion.cells.{level}")
        if attention:
            ours = f"neck.back_projections.{level}.view_fusion"
            names |= _prefixed(view_attention_names(), f"transformer.{theirs}", ours)
        for kind in _KINDS:
            names[f"tsdf_preds.{theirs}.{kind}"] = f"heads.tsdf.layers.{level}.{kind}"
            names[f"occ_preds.{theirs}.{kind}"] = f"heads.occupancy.layers.{level}.{kind}"
    return names


def neuralrecon_names() -> dict[str, str]:
    """NeuralRecon's names -> ours."""
    names = {}
    for own in _state_names(MnasNetFPN):
        if own.startswith("encoder.layers."):
            layer, rest = own.removeprefix("encoder.layers.").split(".", 1)
            theirs = f"conv0.{layer}" if int(layer) <= 8 else f"conv{int(layer) - 8}"
            names[f"backbone2d.{theirs}.{rest}"] = f"backbone.{own}"
    for theirs, (ours, kinds) in _MNASNET_PYRAMID.items():
        names |= {f"backbone2d.{theirs}.{kind}": f"backbone.{ours}.{kind}" for kind in kinds}
    return names | {f"neucon_net.{name}": own for name, own in neck_and_head_names(attention=False).items()}


def mpi_decoder_names() -> dict[str, str]:
    """Published names of the multiplane images' decoder, with outputs at two levels -> names in ``MPIDecoder``."""
    names = {}
    for own in _state_names(MPIDecoder, (64, 64, 128), output_levels=(0, 1)):
        part, number, rest = own.split(".", 2)
        if part == "context":
            theirs = f"{_MPI_CONTEXT[int(number)]}.{rest}"
        elif part == "outputs":
            theirs = f"convs.{_spelt(('dispconv', int(number)))}.conv.{rest}"
        else:
            layer, kind = rest.split(".")
            block = _spelt(("upconv", int(number), ("before", "after").index(part)))
            theirs = f"convs.{block}.{_MPI_BLOCK[int(layer)]}.{kind}"
        names[theirs] = own
    return names


def _spelt(key: tuple) -> str:
    """A dictionary's key as the published decoder writes it: a dash between any two characters."""
    return "-".join(str(key))


def monoselfrecon_names() -> dict[str, str]:
    """MonoSelfRecon's names -> ours."""
    names = {f"backbone2d.{own}": f"backbone.{own}" for own in _state_names(ResNet18FPN)}
    names |= {f"neucon_net.{name}": own for name, own in neck_and_head_names(attention=True).items()}
    return names | _prefixed(mpi_decoder_names(), "nerf", "heads.mpi.decoder")


def _state_names(part: type, *args: Any, **options: Any) -> list[str]:
    with torch.device("meta"):
        return list(part(*args, **options).state_dict())
