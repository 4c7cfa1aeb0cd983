"""Synchronised batch normalisation: two processes against one with all of the batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from toolbox.engine import SyncBatchNorm, synchronise_batch_norms

from . import ranks

ROOT = Path(__file__).resolve().parents[2]


def in_two_processes(function: str, folder: Path) -> list[dict]:
    """What a function of ranks.py found on each rank."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "tests/engine/ranks.py", function]
    processes = [
        subprocess.Popen([*command, str(rank), folder], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def normalised(tmp_path_factory) -> list[dict]:
    return in_two_processes("normalise", tmp_path_factory.mktemp("normalise"))


def together(parts: list[dict]) -> dict[str, torch.Tensor]:
    """Rows of both ranks, sums of the parameters' gradients, and what both remember alike."""
    first, second = parts
    found = {name: torch.cat((first[name], second[name])) for name in ("out", "grad")}
    for name in first.keys() - {"out", "grad"}:
        if name.startswith("grad_"):
            found[name] = first[name] + second[name]
        else:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
            found[name] = first[name]
    return found


@pytest.mark.parametrize("settings", [{}, {"momentum": None}, {"affine": False}], ids=str)
@pytest.mark.parametrize("kind", ranks.SHAPES)
def test_unequal_parts_are_normalised_as_one_batch(normalised, kind, settings):
    found = together([part[f"{kind} {settings}"] for part in normalised])
    expected = ranks.take_part(ranks.plain_norm(kind, **settings), *ranks.samples(kind))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_process_without_rows_takes_part(normalised):
    found = together([part["all here"] for part in normalised])
    expected = ranks.take_part(ranks.plain_norm("rows"), *ranks.samples("rows"))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert len(normalised[1]["all here"]["out"]) == 0


@pytest.mark.parametrize(("case", "rows"), [("one row", 1), ("no row", 0)])
def test_fewer_than_two_rows_in_all_take_the_running_statistics(normalised, case, rows):
    found = together([part[case] for part in normalised])
    norm = ranks.plain_norm("rows").eval()
    expected = ranks.take_part(norm, *(part[:rows] for part in ranks.samples("rows")))
    torch.testing.assert_close(found, expected)


def test_half_precision_is_computed_in_single_precision(normalised):
    found = together([part["bfloat16"] for part in normalised])
    expected = ranks.take_part(ranks.plain_norm("images").float(), *ranks.samples("images", torch.bfloat16))
    assert found["out"].dtype == found["grad"].dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_conversion_keeps_names_and_values():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.SyncBatchNorm(4))).eval()
    before, x = model.state_dict(), torch.randn(2, 3, 5, 4)
    expected = model(x)
    converted = synchronise_batch_norms(synchronise_batch_norms(model))
    assert [type(converted[1]), type(converted[2][0])] == [SyncBatchNorm] * 2
    assert converted.state_dict().keys() == before.keys()
    torch.testing.assert_close(converted(x), expected)
    # Without a process group it is plain batch normalisation.
    alone = nn.BatchNorm2d(4)
    torch.testing.assert_close(converted.train()[1](converted[0](x)), alone(converted[0](x)))


def test_two_processes_train_a_volumetric_network_as_one_with_twice_the_batch(tmp_path):
    """Fragments with different numbers of voxels and of valid points; every loss is a mean over samples."""
    first, second = in_two_processes("volumetric", tmp_path)
    one = ranks.train_step(ranks.network(), ranks.fragments([0, 1]))
    start = ranks.network().state_dict()
    names = [name for name in one if name.startswith("loss_")]
    assert len(names) == 3
    for name in names:
        assert 0 < first[name] != second[name] > 0
        torch.testing.assert_close((first[name] + second[name]) / 2, one[name], rtol=1e-4, atol=0)
    assert sum(not torch.equal(start[name], one[name]) for name in start) > 0.9 * len(start)
    for name in start:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        torch.testing.assert_close(
            first[name], one[name], rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )
