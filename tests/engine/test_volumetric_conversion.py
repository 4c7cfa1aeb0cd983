"""Published weights of volumetric networks under our names: every one, unchanged; what is left out is known."""

import pytest
import torch

from toolbox.engine import convert_monoselfrecon, convert_neuralrecon
from toolbox.engine.checkpoint import check_weights
from toolbox.engine.volumetric_names import monoselfrecon_names, neuralrecon_names
from toolbox.errors import UserError
from toolbox.registry import MODELS

WIDTHS = (0.25, 0.5, 1.0)


def network(backbone: str, view_fusion: str, **neck):
    with torch.device("meta"):
        return MODELS.build(
            {
                "type": "VolumetricReconstructor",
                "backbone": {"type": backbone},
                "neck": {
                    "type": "CoarseToFine",
                    "networks": [{"type": "SPVCNN", "width": width} for width in WIDTHS],
                    "back_projection": {"view_fusion": {"type": view_fusion}},
                    "fusion": {"type": "GRUFusion"},
                }
                | neck,
                "heads": {"tsdf": {"type": "TSDFHead"}, "occupancy": {"type": "OccupancyHead"}},
            }
        )


@pytest.fixture(scope="module")
def published(shared) -> dict[str, torch.Tensor]:
    """MonoSelfRecon's weights, as far as they were stored, and as many as were not that it has beside them."""
    parts = [torch.load(shared / f"golden/msr/neucon_weights_{p}.pt", weights_only=True)["state_dict"] for p in "ab"]
    stored = torch.load(shared / "golden/msr/backbone.pt", weights_only=True)
    weights = {f"neucon_net.{name}": value for part in parts for name, value in part.items()}
    weights |= {f"backbone2d.{name}": value for name, value in stored["state_dict"].items()}
    weights |= {f"backbone2d.{name}": torch.zeros(1) for name in stored["dropped_keys"]}
    return weights | {"nerf.decoder.weight": torch.zeros(1), "ssim.window": torch.zeros(1)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_monoselfrecon(published, prefix):
    converted = convert_monoselfrecon({prefix + name: value for name, value in published.items()})
    check_weights(network("ResNet18FPN", "AttentionViewFusion"), converted, "published")
    names = monoselfrecon_names()
    assert len(converted) == len(set(names.values()))
    left_out = [name for name in published if name not in names]
    kinds = {name.removeprefix("neucon_net.").removeprefix("backbone2d.encoder.").split(".")[0] for name in left_out}
    assert kinds == {
        *("layer3", "layer4", "fc", "nerf", "ssim"),
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


def test_the_first_training_phase_has_no_memory(published):
    weights = {name: value for name, value in published.items() if "gru_fusion" not in name}
    check_weights(network("ResNet18FPN", "AttentionViewFusion", fusion=None), convert_monoselfrecon(weights), "first")
    weights["neucon_net.gru_fusion.fusion_nets.0.convz.net.kernel"] = torch.zeros(1)
    with pytest.raises(UserError, match="26 weights are missing"):
        convert_monoselfrecon(weights)


def test_neuralrecon():
    """No weights of it are at hand: its names, as its program gives them, and the shapes of the paper's network."""
    model = network("MnasNetFPN", "MeanViewFusion")
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
