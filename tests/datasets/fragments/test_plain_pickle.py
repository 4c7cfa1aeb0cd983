import collections
import os
import pickle

import numpy as np
import pytest

from toolbox.datasets.fragments import read_plain_pickle
from toolbox.errors import UserError

PLAIN = {
    "scene": "scene0000_00",
    "image_ids": [1, 2, 3],
    "pose": np.arange(16.0).reshape(4, 4)[:, ::-1],
    "origin": np.array([0.5, -1.5, 2.5], np.float32),
    "voxel_size": np.float64(0.04),
    "empty": (),
    "bytes": b"\x00\xff",
    "ordered": collections.OrderedDict(a={1, 2}, b=None),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_content_is_read(tmp_path, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(PLAIN, protocol=protocol))
    content = read_plain_pickle(tmp_path / "a.pkl")
    assert content.keys() == PLAIN.keys()
    for name, value in content.items():
        np.testing.assert_array_equal(value, PLAIN[name])
        assert isinstance(value, type(PLAIN[name]))


def test_pickles_of_the_old_numpy_are_read(tmp_path):
    written = pickle.dumps(PLAIN, protocol=2).replace(b"numpy._core", b"numpy.core")
    (tmp_path / "a.pkl").write_bytes(written)
    np.testing.assert_array_equal(read_plain_pickle(tmp_path / "a.pkl")["pose"], PLAIN["pose"])


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("poison", "named"),
    [
        (_Runs(os.system, "touch /tmp/poisoned"), r"(posix|nt)\.system"),
        (_Runs(eval, "1 + 1"), r"builtins\.eval"),
        (_Runs(getattr, "a", "upper"), r"builtins\.getattr"),
        (_Runs(np.load, "a.npy"), r"numpy\.load"),
        (collections.Counter("aab"), r"collections\.Counter"),
        (np.random.default_rng(0), r"numpy\.random"),
        (np.rec.array([(1, 2.0)]), r"numpy\.rec"),
    ],
)
def test_anything_else_is_refused_and_named(tmp_path, poison, named):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1, {"x": poison}]))
    with pytest.raises(UserError, match=rf"a\.pkl: is refused: it would import {named}"):
        read_plain_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "array", [np.array([{}], object), np.array(["text"]), np.zeros(2, [("a", "f4")]), np.array(["2020"], "M8[D]")]
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, array):
    for protocol in (2, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(array, protocol=protocol))
        with pytest.raises(UserError, match=r"are no numbers|would import numpy"):
            read_plain_pickle(tmp_path / "a.pkl")


def test_all_kinds_of_numbers(tmp_path):
    kinds = ["?", "i1", "<i8", ">i4", "<u2", "f2", ">f8", "c16"]
    arrays = [np.arange(6).reshape(2, 3).astype(kind) for kind in kinds]
    arrays += [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 3)), np.array(3.5)]
    for protocol in (0, 2, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
        for value, array in zip(read_plain_pickle(tmp_path / "a.pkl"), arrays, strict=True):
            np.testing.assert_array_equal(value, array)
            assert value.dtype == array.dtype.newbyteorder("=")


def test_damaged_pickles(tmp_path):
    whole = pickle.dumps(PLAIN)
    (tmp_path / "cut.pkl").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "text.pkl").write_text("no pickle at all")
    for name in ("cut", "empty", "text", "absent"):
        with pytest.raises(UserError, match=f"{name}.pkl"):
            read_plain_pickle(tmp_path / f"{name}.pkl")


def test_mutilated_pickles_do_nothing_else(tmp_path):
    whole, random = bytearray(pickle.dumps(PLAIN)), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        spoilt = whole.copy()
        for position in random.integers(0, len(whole), 2):
            spoilt[position] = random.integers(0, 256)
        (tmp_path / "a.pkl").write_bytes(spoilt)
        try:
            read_plain_pickle(tmp_path / "a.pkl")
        except UserError:
            refused += 1
    assert refused > 100
