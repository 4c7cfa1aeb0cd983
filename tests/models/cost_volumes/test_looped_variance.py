"""Loops that Numba compiles beside plain PyTorch, and where they are taken."""

import pytest
import torch

from toolbox.geometry import PlaneSweep
from toolbox.models.cost_volumes import Variance, WithReference, aggregators
from toolbox.models.cost_volumes.looped_variance import suits_loops
from toolbox.models.cost_volumes.warper import SweptSources

from . import fused_variance_cases as cases

# Other numbers of channels fill vectors otherwise.
CASES = cases.CASES | {"fifteen_channels": {"channels": 15}, "columns_of_several_blocks": {"wide": True}}


@pytest.fixture
def calls(monkeypatch) -> list:
    """What the loops were asked for."""
    calls, computed = [], aggregators.looped_variance
    monkeypatch.setattr(aggregators, "looped_variance", lambda *a: calls.append(a) or computed(*a))
    return calls


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_plain_pytorch(case, calls, monkeypatch):
    if CASES[case].get("wide"):
        monkeypatch.setattr(cases, "SIZE", (5, 150))
    aggregator = Variance(**CASES[case].get("aggregator", {}))
    *_, reference, swept = cases.inputs("cpu", CASES[case])
    expected = aggregator(reference.float(), swept).detach()
    assert not calls
    with torch.no_grad():
        found = aggregator(reference.float(), swept)
    assert len(calls) == 1
    # One row is hardly hit: small weights, whose rounding is that of positions.
    limit = 1e-4 if case == "source_of_one_row" else 1e-5
    assert (found - expected).abs().max() < limit * expected.abs().max()


def test_points_at_infinity_and_on_the_cameras_plane_are_nowhere(calls):
    """Divisions by zero, and what is not a number."""
    intrinsics, poses = torch.eye(3)[None], torch.eye(4)[None]
    moved = poses.clone()
    moved[0, 2, 3] = -1.0  # a depth of 1 lies in the source camera's plane
    source, reference = torch.ones(1, 2, 5, 6), torch.zeros(1, 2, 5, 6)
    for keep_behind in (False, True):
        sweep = PlaneSweep(source, intrinsics, poses, intrinsics, moved, keep_behind=keep_behind)
        depth = torch.tensor([1.0, float("inf"), float("nan"), 0.0]).view(1, 4, 1, 1).expand(1, 4, 5, 6)
        swept = SweptSources([sweep], depth, (0, 0), torch.float32)
        with torch.no_grad():
            found = Variance()(reference, swept)
        assert torch.isfinite(found).all() and (found[:, :, 0, 1:, 1:] == 0).all()
    assert len(calls) == 2


def test_in_parts_of_the_image_and_with_the_reference_beside_it(calls):
    torch.manual_seed(2)
    *_, reference, swept = cases.inputs("cpu", {})
    aggregator = WithReference({"type": "Variance"})
    with torch.no_grad():
        whole = aggregator(reference, swept)
        for top, bottom in ((0, 4), (4, 11)):
            corner = swept.corner[0] + top, swept.corner[1]
            part = SweptSources(swept.sweeps, swept.depth[:, :, top:bottom], corner, torch.float32)
            torch.testing.assert_close(aggregator(reference[..., top:bottom, :], part), whole[..., top:bottom, :])
    assert len(calls) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda swept: setattr(swept, "dtype", torch.float64),
        lambda swept: setattr(swept, "depth", swept.depth.double()),
        lambda swept: setattr(swept.sweeps[0], "source", torch.randn(2, 5, 4, 6)),
        lambda swept: setattr(swept.sweeps[0], "keep_behind", True),
        lambda swept: swept.sweeps[0](swept.depth),  # its features are then in a table
    ],
)
def test_what_they_cannot_do_goes_the_other_way(change):
    _, sources, reference, swept = cases.inputs("cpu", {})
    assert not suits_loops(reference, swept)  # gradients
    with torch.no_grad():
        swept.sweeps = cases.sweeps([source.detach() for source in sources])
        assert suits_loops(reference, swept)
        assert not suits_loops(reference.double(), swept) and not suits_loops(reference, list(swept))
        swept.sweeps = cases.sweeps([source.detach() for source in sources])
        change(swept)
        assert not suits_loops(reference, swept)
