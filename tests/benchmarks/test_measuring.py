"""Measuring: processes that take turns, peers, records. Nothing is timed against a limit."""

import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from benchmarks.growth import exponent
from benchmarks.measure import measure, relative_difference
from benchmarks.report import HEADER, change, keep, key_of, read_results, row
from benchmarks.yardstick import yardstick
from toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PEER = """
def build(work):
    conv = work.ours()
    return lambda: {"out": 2 * conv()["out"], "unknown": [1.0]}
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A work beside its reference and a peer."""
    peer = tmp_path_factory.mktemp("peer") / "peer.py"
    peer.write_text(PEER)
    return measure("sparse_conv", "tiny", 2, peer, threads=1)


def test_a_record_has_all_contenders(record):
    assert set(record["contenders"]) == {"ours", "reference", "against"}
    for ratio in record["ratios"].values():
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert record["differences"]["reference"].keys() == {"out", "feats_grad", "weight_grad"}
    assert max(record["differences"]["reference"].values()) < 1e-5
    assert record["differences"]["against"] == {"out": pytest.approx(1.0, abs=1e-5)}
    assert record["contenders"]["ours"]["peak_bytes"] > 2**25
    assert 0 < record["shares"]["gemm"] < 2
    assert all(limit > 0 for limit in record["limits"].values())
    assert row(record).count("|") == HEADER.splitlines()[0].count("|")


@pytest.mark.parametrize("tick", [0.01, 0.1])
def test_a_yardstick_is_as_long_as_the_machine_is_slow(tick):
    """By a clock that every look at it moves on: whatever is done takes one tick."""
    looks = count()
    found = yardstick("cpu", lambda: tick * next(looks))()
    assert found["yardstick_seconds"] == pytest.approx(2 * tick)
    assert [found["gemm_gflops"], found["gemm_bfloat16_gflops"]] == pytest.approx([2 * 1.024**3 / tick] * 2)


def test_records_are_kept_and_compared(record, tmp_path):
    assert change(record, None) is None
    keep([record], tmp_path / "results.json")
    last = read_results(tmp_path / "results.json")
    assert list(last) == [key_of(record)] == ["sparse_conv/tiny/cpu"]
    assert change(record, last[key_of(record)]) == pytest.approx(1.0)
    slower = {**record, "ratios": {"reference": {"median": record["ratios"]["reference"]["median"] / 2}}}
    assert change(slower, last[key_of(record)]) == pytest.approx(0.5)
    assert change({**record, "settings": {}}, last[key_of(record)]) is None
    alone = {**record, "ratios": {}, "in_yardsticks": {"median": 3 * record["in_yardsticks"]["median"]}}
    assert change(alone, {**alone, "in_yardsticks": {"median": record["in_yardsticks"]["median"]}}) == pytest.approx(
        1 / 3
    )
    assert change({**alone, "threads": 7}, last[key_of(record)]) is None


def test_another_version_is_measured_with_its_own_code(tmp_path):
    for name in ("sparse", "compiled"):
        shutil.copytree(ROOT / "toolbox" / name, tmp_path / "toolbox" / name)
    for name in ("__init__.py", "errors.py", "registry.py"):
        shutil.copy(ROOT / "toolbox" / name, tmp_path / "toolbox" / name)
    other = tmp_path / "toolbox" / "sparse" / "convolution.py"
    text = other.read_text()
    assert "feats @ weight" in text
    other.write_text(text.replace("x.at_stride(stride, ", "x.at_stride(stride, 3 * "))
    found = measure("sparse_conv", "tiny", 1, tmp_path, threads=1, with_reference=False, changes={"backward": 0})
    assert found["differences"] == {"against": {"out": pytest.approx(2.0, abs=1e-5)}}


def test_what_cannot_be_measured_against_is_named(tmp_path):
    with pytest.raises(UserError, match="nor a folder with another version"):
        measure("sparse_conv", "tiny", 1, tmp_path)
    broken = tmp_path / "broken.py"
    broken.write_text("def build(work): raise ValueError")
    with pytest.raises(UserError, match="adapter of sparse_conv: ended with status 1"):
        measure("sparse_conv", "tiny", 1, broken)


def test_exponents_and_differences():
    amounts = np.array([1.0, 2, 5])
    assert exponent(amounts, 3 * amounts**1.5) == pytest.approx(1.5)
    assert relative_difference(np.array([1.0, -3]), np.array([1.0, -1])) == pytest.approx(0.5)
    assert relative_difference(np.zeros(2), np.zeros(3)) == float("inf")
