"""Published weights of volumetric networks under our names: every one, unchanged; what is left out is known."""

from pathlib import Path

import pytest
import torch

from toolbox.engine import convert_monoselfrecon, convert_neuralrecon, load_config
from toolbox.engine.checkpoint import check_weights
from toolbox.engine.volumetric_names import monoselfrecon_names, neuralrecon_names
from toolbox.errors import UserError
from toolbox.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def official(name: str) -> torch.nn.Module:
    """The network of an official config."""
    with torch.device("meta"):
        return MODELS.build(load_config(CONFIGS / f"{name}_official.py").model)


@pytest.fixture(scope="module")
def published(shared) -> dict[str, torch.Tensor]:
    """MonoSelfRecon's weights, as far as they were stored, and as many as were not that it has beside them."""
    parts = [torch.load(shared / f"golden/msr/neucon_weights_{p}.pt", weights_only=True)["state_dict"] for p in "ab"]
    stored = torch.load(shared / "golden/msr/backbone.pt", weights_only=True)
    decoder = torch.load(shared / "golden/msr/mpi.pt", weights_only=True)["decoder"]["state_dict"]
    weights = {f"neucon_net.{name}": value for part in parts for name, value in part.items()}
    weights |= {f"backbone2d.{name}": value for name, value in stored["state_dict"].items()}
    weights |= {f"backbone2d.{name}": torch.zeros(1) for name in stored["dropped_keys"]}
    weights |= {f"nerf.{name}": value for name, value in decoder.items()}
    return weights | {"lpips.lin0.model.1.weight": torch.zeros(1)}


@pytest.mark.parametrize("variant", ["self", "weak"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_monoselfrecon(published, prefix, variant):
    converted = convert_monoselfrecon({prefix + name: value for name, value in published.items()})
    check_weights(official(f"monoselfrecon/{variant}"), converted, "published")
    names = monoselfrecon_names()
    assert len(converted) == len(set(names.values()))
    left_out = [name for name in published if name not in names]
    kinds = {name.removeprefix("neucon_net.").removeprefix("backbone2d.encoder.").split(".")[0] for name in left_out}
    assert kinds == {
        *("layer3", "layer4", "fc", "lpips"),
        *("transformer_mlp", "transformer_temp", "transformer_mlp_temp"),
    }
    assert torch.equal(
        converted["neck.back_projections.0.view_fusion.layers.1.qkv.weight"],
        published["neucon_net.transformer.2.encoder_layers.1.attn.in_proj_weight"],
    )
    assert torch.equal(
        converted["neck.fusion.cells.2.reset.conv.weight"],
        published["neucon_net.gru_fusion.fusion_nets.0.convr.net.kernel"],
    )
    assert torch.equal(
        converted["heads.mpi.decoder.after.1.0.weight"],
        published["nerf.convs.(-'-u-p-c-o-n-v-'-,- -1-,- -1-).conv.conv.weight"],
    )


def test_the_first_training_phase_has_no_memory(published):
    weights = {name: value for name, value in published.items() if "gru_fusion" not in name}
    check_weights(official("monoselfrecon/self_warmup"), convert_monoselfrecon(weights), "first")
    weights["neucon_net.gru_fusion.fusion_nets.0.convz.net.kernel"] = torch.zeros(1)
    with pytest.raises(UserError, match="26 weights are missing"):
        convert_monoselfrecon(weights)


def test_multiplane_images_are_there_as_a_whole_or_not_at_all(published):
    weights = {name: value for name, value in published.items() if not name.startswith("nerf.")}
    converted = convert_monoselfrecon(weights)
    assert converted and not any(name.startswith("heads.mpi") for name in converted)
    weights["nerf.conv_up1.0.weight"] = torch.zeros(1)
    with pytest.raises(UserError, match="59 weights are missing"):
        convert_monoselfrecon(weights)


def test_neuralrecon():
    """No weights of it are at hand: its names, as its program gives them, and the shapes of the paper's network."""
    model = official("neuralrecon/neuralrecon")
    names = neuralrecon_names()
    assert set(names.values()) == set(model.state_dict())
    own = model.state_dict()
    converted = convert_neuralrecon({f"module.{name}": own[ours] for name, ours in names.items()}, "model_000047.ckpt")
    check_weights(model, converted, "published")
    for theirs, ours in {
        "backbone2d.conv0.0.weight": "backbone.encoder.layers.0.weight",
        "backbone2d.conv0.8.0.layers.3.weight": "backbone.encoder.layers.8.0.layers.3.weight",
        "backbone2d.conv1.2.layers.6.weight": "backbone.encoder.layers.9.2.layers.6.weight",
        "backbone2d.conv2.0.layers.0.weight": "backbone.encoder.layers.10.0.layers.0.weight",
        "backbone2d.inner1.bias": "backbone.lateral_middle.bias",
        "backbone2d.out3.weight": "backbone.out_fine.weight",
        "neucon_net.sp_convs.0.stem.0.kernel": "neck.networks.2.stem.conv.weight",
        "neucon_net.occ_preds.2.bias": "heads.occupancy.layers.0.bias",
    }.items():
        assert names[theirs] == ours
    assert own["neck.networks.2.stem.conv.weight"].shape == (27, 81, 32)
    assert own["neck.networks.0.stem.conv.weight"].shape == (27, 75, 8)


def test_another_network_is_refused(published):
    with pytest.raises(UserError, match=r"weights\.ckpt.* is no NeuralRecon checkpoint: .*MnasNet"):
        convert_neuralrecon(published, "weights.ckpt")
