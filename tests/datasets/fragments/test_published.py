import collections
import os
import pickle

import numpy as np
import pytest

from toolbox.datasets.fragments import VolumeInfo, read_plain_pickle, read_published_fragments, read_published_info
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
        assert type(value) is type(PLAIN[name])


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
    ],
)
def test_anything_else_is_refused_and_named(tmp_path, poison, named):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1, {"x": poison}]))
    with pytest.raises(UserError, match=rf"a\.pkl: is refused: it would import {named}"):
        read_plain_pickle(tmp_path / "a.pkl")


def test_damaged_pickles(tmp_path):
    whole = pickle.dumps(PLAIN)
    (tmp_path / "cut.pkl").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "text.pkl").write_text("no pickle at all")
    for name in ("cut", "empty", "text", "absent"):
        with pytest.raises(UserError, match=f"{name}.pkl"):
            read_plain_pickle(tmp_path / f"{name}.pkl")


@pytest.fixture
def published(tmp_path, room):
    """A scene's folder as NeuralRecon leaves it."""
    entries = [
        {"scene": room.name, "fragment_id": k, "image_ids": ids, "extrinsics": [np.eye(4)] * 3}
        for k, ids in enumerate([[0, 2, 5], [7, 8, 11]])
    ]
    (tmp_path / "fragments.pkl").write_bytes(pickle.dumps(entries))
    info = {"vol_origin": np.array([-1.0, 2.0, 0.5]), "voxel_size": 0.04}
    (tmp_path / "tsdf_info.pkl").write_bytes(pickle.dumps(info))
    for level in range(3):
        np.savez_compressed(tmp_path / f"full_tsdf_layer{level}.npz", np.ones((8 >> level,) * 3, np.float32))
    return tmp_path


def test_published_fragments(published, room):
    prepared = read_published_fragments(published, room)
    assert prepared.fragments == [[0, 2, 5], [7, 8, 11]]
    assert [view.id for view in prepared.scene.views] == [0, 2, 5, 7, 8, 11]
    assert prepared.volumes == VolumeInfo((-1.0, 2.0, 0.5), 0.04, 3)
    (published / "tsdf_info.pkl").unlink()
    assert read_published_fragments(published, room).volumes is None


def test_published_files_that_do_not_fit(published, room):
    def write(value: object, name: str = "fragments.pkl") -> None:
        (published / name).write_bytes(pickle.dumps(value))

    write([{"scene": "scene0707_00", "image_ids": [1]}])
    with pytest.raises(UserError, match="is of scene0707_00, not 'scene0000_00'"):
        read_published_fragments(published, room)
    write([{"image_ids": [1, 4321]}])
    with pytest.raises(UserError, match=r"does not have: \[4321\]"):
        read_published_fragments(published, room)
    write([{"ids": [1]}])
    with pytest.raises(UserError, match="no list of fragments"):
        read_published_fragments(published, room)
    write({"vol_origin": [1, 2]}, "tsdf_info.pkl")
    with pytest.raises(UserError, match="no vol_origin and voxel_size"):
        read_published_info(published)
    write({"vol_origin": [1, 2, 3], "voxel_size": 0.04}, "tsdf_info.pkl")
    (published / "full_tsdf_layer0.npz").unlink()
    with pytest.raises(UserError, match=r"full_tsdf_layer0\.npz: does not exist"):
        read_published_info(published)
