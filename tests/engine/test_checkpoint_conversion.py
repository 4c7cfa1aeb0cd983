"""Published CVP-MVSNet weights under our names: every one, unchanged."""

import pytest
import torch

from toolbox.engine import convert_cvp_mvsnet
from toolbox.errors import UserError
from toolbox.registry import MODELS

NETWORK = {
    "type": "MultiViewStereo",
    "backbone": {"type": "PyramidFeatures", "channels": (64, 64, 64, 32, 32, 32, 16, 16, 16)},
    "head": {
        "type": "CostVolumePyramid",
        "coarse_hypotheses": {"type": "UniformDepth", "num": 48},
        "fine_hypotheses": {"type": "PixelInterval", "num": 8, "pixels": 1.0},
        "aggregator": {"type": "Variance"},
        "regularizer": {"type": "HourglassRegularizer", "channels": (16, 32, 64)},
    },
}


@pytest.fixture(scope="module")
def published(shared) -> dict[str, torch.Tensor]:
    return torch.load(shared / "golden/cvp/cvp_test_small.pt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_all_weights_arrive_in_the_network(published, prefix):
    converted = convert_cvp_mvsnet({prefix + name: value for name, value in published.items()})
    model = MODELS.build(NETWORK)
    model.load_state_dict({name: value.float() for name, value in converted.items()}, strict=True)
    assert len(converted) == len(published) == 80
    assert sum(p.numel() for p in model.parameters()) == 551_585
    assert torch.equal(model.backbone.convs[3].conv.bias, published["featurePyramid.conv0bc.0.bias"].float())
    assert torch.equal(
        model.head.regularizer.conv5.norm.running_var, published["cost_reg_refine.conv5.1.running_var"].float()
    )


def test_counters_of_batches_may_be_absent(published):
    weights = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    assert len(convert_cvp_mvsnet(weights)) == len(weights) == 70


def test_missing_and_unknown_weights_are_counted_and_named(published):
    weights = dict(published)
    del weights["cost_reg_refine.prob0.bias"]
    weights["refine.conv.weight"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        convert_cvp_mvsnet(weights, "model.ckpt")
    assert "model.ckpt" in str(caught.value)
    assert "1 weights are missing (e.g. cost_reg_refine.prob0.bias)" in str(caught.value)
    assert "1 weights are unknown (e.g. refine.conv.weight)" in str(caught.value)
