import pickle

import numpy as np
import pytest

from toolbox.datasets.fragments import VolumeInfo, read_published_fragments, read_published_info
from toolbox.errors import UserError


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
