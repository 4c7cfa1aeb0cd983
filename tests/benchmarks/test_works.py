"""Works at their tiny size: ours and the reference do the same task. Nothing is timed here."""

import numpy as np
import pytest
import torch

from benchmarks.measure import relative_difference
from benchmarks.work import find_work, size_of, work_names
from toolbox.errors import UserError


def outputs(run) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    values = run().items()
    return {
        name: value.detach().float().numpy() if torch.is_tensor(value) else np.asarray(value, float)
        for name, value in values
    }


@pytest.mark.parametrize("name", work_names())
def test_ours_and_the_reference_agree(name):
    kind = find_work(name)
    assert {"tiny", "small", "user"} <= kind.sizes.keys()
    work = kind(device="cpu", **size_of(kind, "tiny"))
    ours = outputs(work.ours())
    assert ours
    assert all(np.isfinite(values).all() for values in ours.values())
    assert work.cost().flops >= 0
    if kind.reference_name:
        theirs = outputs(work.reference())
        assert ours.keys() == theirs.keys()
        assert {
            key: difference for key in ours if (difference := relative_difference(ours[key], theirs[key])) > 0.01
        } == {}
    else:
        with pytest.raises(NotImplementedError):
            work.reference()


def test_unsupervised_training_steps_agree():
    kind = find_work("mvs_train_step")
    work = kind(device="cpu", **{**size_of(kind, "tiny"), "sources": 4, "unsupervised": 1, "checkpoint_volumes": 1})
    ours, theirs = outputs(work.ours()), outputs(work.reference())
    assert {key: difference for key in ours if (difference := relative_difference(ours[key], theirs[key])) > 0.01} == {}


def test_growth_names_values_of_the_work():
    for name in work_names():
        kind = find_work(name)
        known = set().union(*(size.keys() for size in kind.sizes.values()))
        for changes in kind.growth.values():
            assert len(changes) > 2
            assert all(change.keys() <= known for change in changes.values())


def test_unknown_works_and_sizes_are_named():
    with pytest.raises(UserError, match="sparse_conv"):
        find_work("sparse_cnv")
    with pytest.raises(UserError, match="tiny"):
        size_of(find_work("sparse_conv"), "huge")
