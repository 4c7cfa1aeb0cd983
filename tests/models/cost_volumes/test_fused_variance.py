"""Triton kernels beside plain PyTorch: in Triton's interpreter, and on a GPU where there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toolbox.errors import UserError
from toolbox.geometry import PlaneSweep
from toolbox.models.cost_volumes import Variance
from toolbox.models.cost_volumes.warper import SweptSources

from . import fused_variance_cases as cases

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def compared(request) -> dict:
    if os.environ.get("CI") != "true":
        pytest.importorskip("triton", reason="Triton is not installed")
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    environment = {**os.environ, "TRITON_INTERPRET": str(int(request.param == "cpu")), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, cases.__file__, request.param], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", [*cases.CASES, "head"])
def test_agrees_with_plain_pytorch(compared, case):
    """Volume, and gradients of the reference and of all sources."""
    found = compared["differences"][case]
    # One row is hardly hit: small weights, whose rounding is that of positions. Normalisation makes the head's larger.
    limit = {"bfloat16": 1e-2, "head": 1e-3, "source_of_one_row": 1e-4}.get(case, 1e-5)
    assert {name: value for name, value in found.items() if not value < limit} == {}


def test_the_cases_hold_points_behind_outside_and_inside(compared):
    assert min(compared["shares"].values()) > 0.1


def swept() -> SweptSources:
    sources = torch.randn(2, 1, 3, 5, 6).unbind()
    intrinsics, poses = torch.eye(3)[None], torch.eye(4)[None]
    sweeps = [PlaneSweep(source, intrinsics, poses, intrinsics, poses) for source in sources]
    return SweptSources(sweeps, torch.ones(1, 2, 5, 6), (0, 0), torch.float32)


def test_says_what_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "toolbox.models.cost_volumes.variance_kernels", raising=False)
    with pytest.raises(UserError, match="Triton cannot be imported"):
        Variance(kernel="triton")(torch.randn(1, 3, 5, 6), swept())


def test_refuses_other_kernels():
    with pytest.raises(UserError, match="'torch' or 'triton'"):
        Variance(kernel="cuda")


@pytest.mark.parametrize(
    ("reference", "change", "message"),
    [
        (torch.randn(1, 3, 5, 6), lambda s: s.sweeps.clear(), "source"),
        (torch.randn(1, 3, 5, 6), lambda s: setattr(s.sweeps[0], "source", torch.randn(1, 3, 4, 6)), "one size"),
        (torch.randn(1, 3, 5, 6).double(), lambda s: None, "float64"),
    ],
)
def test_refuses_what_it_cannot_do(reference, change, message):
    views = swept()
    change(views)
    with pytest.raises(ValueError, match=message):
        Variance(kernel="triton")(reference, views)
