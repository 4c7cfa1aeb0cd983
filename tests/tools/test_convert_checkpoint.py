"""tools/convert_checkpoint.py: from the published file to one that the official configuration loads."""

from pathlib import Path

import pytest
import torch

from toolbox.engine import load_config, load_weights
from toolbox.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def published(shared, tmp_path) -> Path:
    """The published format, of a run on several GPUs."""
    golden = torch.load(shared / "golden/cvp/cvp_test_small.pt", weights_only=True)["state_dict"]
    weights = {f"module.{name}": value for name, value in golden.items()}
    torch.save({"model": weights, "epoch": 27, "optimizer": {"state": {}}}, tmp_path / "model_000027.ckpt")
    return tmp_path / "model_000027.ckpt"


def test_the_official_configuration_loads_it(run_tool, published, tmp_path):
    ended = run_tool("convert_checkpoint", "cvp_mvsnet", published, tmp_path / "ours/official.pth")
    assert ended.code == 0, ended.err
    assert "80 of 80 weights converted" in ended.out
    model = MODELS.build(load_config(ROOT / "configs/cvp_mvsnet/cvp_mvsnet_official.py").model)
    assert load_weights(model, tmp_path / "ours/official.pth") == {"converted_from": "cvp_mvsnet", "epoch": 27}
    source = torch.load(published, weights_only=True)["model"]
    assert torch.equal(model.backbone.convs[0].conv.weight, source["module.featurePyramid.conv0aa.0.weight"].float())


def test_wrong_sources_end_in_one_paragraph(run_tool, published, tmp_path):
    content = torch.load(published, weights_only=True)
    torch.save(content["model"], tmp_path / "bare.pth")
    del content["model"]["module.cost_reg_refine.prob0.weight"]
    torch.save(content, tmp_path / "part.pth")
    torch.save({"model": Path("/")}, tmp_path / "object.pth")
    for name, told in {
        "bare.pth": "holds no weights under 'model'",
        "part.pth": "1 weights are missing (e.g. cost_reg_refine.prob0.weight)",
        "object.pth": "without running code",
        "none.pth": "no checkpoint file",
    }.items():
        ended = run_tool("convert_checkpoint", "cvp_mvsnet", tmp_path / name, tmp_path / "out.pth")
        assert ended.code == 2
        assert name in ended.err
        assert told in ended.err
        assert ended.err.count("\n") == 1
        assert not (tmp_path / "out.pth").exists()


def test_a_volumetric_network(run_tool, shared, tmp_path):
    weights = {}
    parts = {
        "neucon_weights_a": "neucon_net",
        "neucon_weights_b": "neucon_net",
        "backbone": "backbone2d",
        "mpi": "nerf",
    }
    for name, prefix in parts.items():
        stored = torch.load(shared / f"golden/msr/{name}.pt", weights_only=True)
        stored = stored.get("decoder", stored)["state_dict"]
        weights |= {f"module.{prefix}.{key}": value for key, value in stored.items()}
    torch.save({"model": weights, "epoch": 3, "optimizer": {}}, tmp_path / "model_000003.ckpt")
    ended = run_tool("convert_checkpoint", "monoselfrecon", tmp_path / "model_000003.ckpt", tmp_path / "ours.pth")
    assert ended.code == 0, ended.err
    # 6 + 2 linear layers beside the transformers, and the transformer over time, are used by nothing.
    assert f"{len(weights) - 32} of {len(weights)} weights converted" in ended.out
    model = MODELS.build(load_config(ROOT / "configs/monoselfrecon/weak_official.py").model)
    assert load_weights(model, tmp_path / "ours.pth") == {"converted_from": "monoselfrecon", "epoch": 3}
    ours = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert torch.equal(
        ours["state_dict"]["heads.tsdf.layers.0.weight"], weights["module.neucon_net.tsdf_preds.2.weight"]
    )
    refused = run_tool("convert_checkpoint", "neuralrecon", tmp_path / "model_000003.ckpt", tmp_path / "other.pth")
    assert refused.code == 2
    assert "is no NeuralRecon checkpoint" in refused.err
