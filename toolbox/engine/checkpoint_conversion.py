"""Published checkpoints -> ours: weights renamed, every one accounted for."""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from toolbox.errors import UserError

from .volumetric_names import monoselfrecon_names, neuralrecon_names

_PYRAMID = ("aa", "ba", "bb", "bc", "bd", "be", "bf", "bg", "bh")
_PLAIN_CONVS = ("conv0", "conv0a", "conv1", "conv2", "conv2a", "conv3", "conv4", "conv4a")
_TRANSPOSED_CONVS = ("conv5", "conv6")
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_COUNTER = "num_batches_tracked"
# What a checkpoint may lack, all of it or nothing: the memory, if it is of the first training phase; multiplane images.
_MEMORY = "neucon_net.gru_fusion."
_MULTIPLANE = "nerf."
# Weights that the published MonoSelfRecon keeps and never uses; those of a metric (LPIPS) among them.
_UNUSED_IN_MONOSELFRECON = (
    *(f"backbone2d.encoder.{layer}." for layer in ("layer3", "layer4", "fc")),
    *(f"neucon_net.transformer_{part}" for part in ("mlp", "temp")),
    "lpips.",
)


def cvp_mvsnet_names() -> dict[str, str]:
    """Published name -> ours, for all 80 weights of CVP-MVSNet."""
    names = {}
    for i, suffix in enumerate(_PYRAMID):
        for kind in ("weight", "bias"):
            names[f"featurePyramid.conv0{suffix}.0.{kind}"] = f"backbone.convs.{i}.conv.{kind}"
    published, ours = "cost_reg_refine", "head.regularizer"
    for conv in _PLAIN_CONVS:
        names[f"{published}.{conv}.conv.weight"] = f"{ours}.{conv}.conv.weight"
        names |= {f"{published}.{conv}.bn.{kind}": f"{ours}.{conv}.norm.{kind}" for kind in _NORM}
    for conv in _TRANSPOSED_CONVS:
        names[f"{published}.{conv}.0.weight"] = f"{ours}.{conv}.conv.weight"
        names |= {f"{published}.{conv}.1.{kind}": f"{ours}.{conv}.norm.{kind}" for kind in _NORM}
    names |= {f"{published}.prob0.{kind}": f"{ours}.prob0.{kind}" for kind in ("weight", "bias")}
    return names


def convert_cvp_mvsnet(state_dict: Mapping[str, Tensor], source: str = "state dict") -> dict[str, Tensor]:
    """Rename the weights of a published CVP-MVSNet for the config ``cvp_mvsnet_official.py``.

    Args:
        state_dict: published names, with or without the 'module.' of data parallelism.
        source: what to call it in an error.

    Raises:
        UserError: a weight is missing (counters of batches seen may be) or unknown.
    """
    known_by = "'featurePyramid.*' and 'cost_reg_refine.*'"
    return _convert(state_dict, cvp_mvsnet_names(), "CVP-MVSNet", known_by, source)


def convert_neuralrecon(state_dict: Mapping[str, Tensor], source: str = "state dict") -> dict[str, Tensor]:
    """Rename the weights of a published NeuralRecon.

    Args:
        state_dict: published names, with or without the 'module.' of data parallelism. Those of the memory
            ('gru_fusion') may be absent altogether.
        source: what to call it in an error.

    Raises:
        UserError: a weight is missing (counters of batches seen may be) or unknown.
    """
    known_by = "'backbone2d.*' and 'neucon_net.*', with an MnasNet"
    return _convert(state_dict, neuralrecon_names(), "NeuralRecon", known_by, source, optional=(_MEMORY,))


def convert_monoselfrecon(state_dict: Mapping[str, Tensor], source: str = "state dict") -> dict[str, Tensor]:
    """Rename the weights of a published MonoSelfRecon.

    What nothing in the published program uses is left out: the second half of ResNet-18, the linear layers beside the
    transformers, the transformer over time, and the network of the LPIPS metric.

    Args:
        state_dict: published names, with or without the 'module.' of data parallelism. Those of the memory
            ('gru_fusion') may be absent altogether, and those of the multiplane images ('nerf').
        source: what to call it in an error.

    Raises:
        UserError: a weight is missing (counters of batches seen may be) or unknown.
    """
    known_by = "'backbone2d.*' and 'neucon_net.*', with a ResNet-18"
    optional = (_MEMORY, _MULTIPLANE)
    return _convert(
        state_dict, monoselfrecon_names(), "MonoSelfRecon", known_by, source, optional, _UNUSED_IN_MONOSELFRECON
    )


def _convert(
    state_dict: Mapping[str, Tensor],
    names: Mapping[str, str],
    network: str,
    known_by: str,
    source: str,
    optional: Sequence[str] = (),
    unused: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Rename weights.

    Args:
        names: published name -> ours.
        network, known_by: for errors: what it is, and which names such a file has.
        optional: beginnings of names; all that begin alike may be absent.
        unused: beginnings of names to leave out.
    """
    published = {re.sub(r"^module\.", "", name): value for name, value in state_dict.items()}
    published = {name: value for name, value in published.items() if not name.startswith(tuple(unused))}
    absent = tuple(start for start in optional if not any(name.startswith(start) for name in published))
    names = {name: own for name, own in names.items() if not name.startswith(absent)}
    missing = [name for name in names if name not in published and not name.endswith(_COUNTER)]
    unknown = [name for name in published if name not in names]
    faults = [
        f"{len(found)} weights are {what} (e.g. {found[0]})"
        for found, what in ((missing, "missing"), (unknown, "unknown"))
        if found
    ]
    if faults:
        raise UserError(
            source,
            f"is no {network} checkpoint: {' and '.join(faults)}",
            f"Give the file of the published network ({known_by})",
        )
    return {names[name]: value for name, value in published.items()}


CONVERTERS: dict[str, Callable[[Mapping[str, Tensor], str], dict[str, Tensor]]] = {
    "cvp_mvsnet": convert_cvp_mvsnet,
    "monoselfrecon": convert_monoselfrecon,
    "neuralrecon": convert_neuralrecon,
}
