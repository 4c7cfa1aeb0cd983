"""Mixed precision on a CPU (and a GPU, where there is one)."""

import pytest
import torch
from torch import nn

from toolbox.engine import AutocastOptimWrapper
from toolbox.errors import UserError

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def layer() -> nn.Linear:
    return nn.Linear(4, 3).to(DEVICE)


def wrap(layer: nn.Module, **options: object) -> AutocastOptimWrapper:
    return AutocastOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=0.5), **options)


def test_the_forward_pass_is_in_bfloat16_and_the_weights_are_not(layer):
    wrapper = wrap(layer, dtype="bfloat16", clip_grad={"max_norm": 1e-3})
    before = layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        out = layer(torch.ones(2, 4, device=DEVICE))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().square().sum())
    assert layer.weight.dtype == torch.float32
    moved = torch.cat([(layer.weight - before).flatten()]).norm()
    assert 0 < moved <= 0.5 * 1e-3 * 1.001


def test_the_state_goes_to_and_comes_from_a_run_without_it(layer):
    from mmengine.optim import OptimWrapper

    mixed, plain = wrap(layer), OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.9))
    assert mixed.dtype == torch.bfloat16
    mixed.load_state_dict(plain.state_dict())
    assert mixed.optimizer.param_groups[0]["momentum"] == 0.9
    mixed.load_state_dict(mixed.state_dict())


@pytest.mark.skipif(DEVICE != "cpu", reason="float16 is refused on a CPU only")
def test_float16_is_refused_on_a_cpu(layer):
    with pytest.raises(UserError, match="float16"):
        wrap(layer, dtype="float16")


def test_an_unknown_dtype_is_refused(layer):
    with pytest.raises(UserError, match="'int8' is none of"):
        wrap(layer, dtype="int8")
