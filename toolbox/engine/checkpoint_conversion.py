"""Published checkpoints -> ours: weights renamed, every one accounted for."""

import re
from collections.abc import Mapping

from torch import Tensor

from toolbox.errors import UserError

_PYRAMID = ("aa", "ba", "bb", "bc", "bd", "be", "bf", "bg", "bh")
_PLAIN_CONVS = ("conv0", "conv0a", "conv1", "conv2", "conv2a", "conv3", "conv4", "conv4a")
_TRANSPOSED_CONVS = ("conv5", "conv6")
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_COUNTER = "num_batches_tracked"


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
    names = cvp_mvsnet_names()
    published = {re.sub(r"^module\.", "", name): value for name, value in state_dict.items()}
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
            f"is no CVP-MVSNet checkpoint: {' and '.join(faults)}",
            "Give the file of the published network ('featurePyramid.*' and 'cost_reg_refine.*')",
        )
    return {names[name]: value for name, value in published.items()}


CONVERTERS = {"cvp_mvsnet": convert_cvp_mvsnet}
