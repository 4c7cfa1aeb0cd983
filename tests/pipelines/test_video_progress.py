"""A killed reconstruction of a video goes on, and ends with the very mesh of one that was not."""

from functools import partial

import numpy as np
import pytest
import torch
import trimesh

from toolbox.apis import reconstruct_scene
from toolbox.datasets.scenes import ScanNetScene
from toolbox.fusion import SceneMesher
from toolbox.models.reconstructors import VolumetricReconstructor
from toolbox.pipelines import video_progress, video_reconstruction
from toolbox.pipelines.video_progress import VideoProgress
from toolbox.registry import MODELS

SETTINGS = {"keyframes": {"views": 3, "min_distance": 0.05}, "size": None, "quiet": True, "colours": False}


@pytest.mark.parametrize("memory", [True, False])
def test_a_killed_run_goes_on(room_folder, tiny_volumetric, tmp_path, monkeypatch, memory):
    monkeypatch.setattr(video_reconstruction, "VideoProgress", partial(VideoProgress, interval=0.0))
    torch.manual_seed(6)
    scene, model = ScanNetScene(room_folder), MODELS.build(tiny_volumetric)
    with torch.no_grad():  # distances of either sign
        model.heads["tsdf"].layers[0].weight.normal_()
        model.heads["tsdf"].layers[0].bias.zero_()
    settings = {**SETTINGS, "memory": memory, "volume": {"threshold": 10.0}}
    step, seen = model.test_step, []

    def stepped(data, until=None):
        seen.append(data[0]["meta"]["fragment"])
        if seen[-1] == until:
            raise KeyboardInterrupt
        return step(data)

    monkeypatch.setattr(model, "test_step", stepped)
    whole = reconstruct_scene(scene, model, tmp_path / "whole", **settings)
    assert whole["fragments"] >= 4 and seen == list(range(whole["fragments"]))
    monkeypatch.setattr(model, "test_step", lambda data: stepped(data, until=3))
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scene(scene, model, tmp_path / "killed", **settings)
    assert (tmp_path / "killed/progress.pth").exists()
    monkeypatch.setattr(model, "test_step", stepped)
    seen.clear()
    resumed = reconstruct_scene(scene, model, tmp_path / "killed", **settings)
    assert seen == list(range(3, whole["fragments"])) and resumed["mesh"]["fragments_of_a_killed_run"] == 3
    assert not (tmp_path / "killed/progress.pth").exists()
    one, other = (trimesh.load(tmp_path / name / "mesh.ply", process=False) for name in ("whole", "killed"))
    assert np.array_equal(one.vertices, other.vertices) and np.array_equal(one.faces, other.faces)


class _Forgetful(VolumetricReconstructor):
    """A network without a memory."""

    def __init__(self):
        super(VolumetricReconstructor, self).__init__()

    def memory(self) -> dict:
        return {}


def test_progress_of_something_else_or_half_a_file_is_none(tmp_path):
    path = tmp_path / "progress.pth"
    progress = VideoProgress(path, "this", interval=0.0)
    assert progress.load() is None
    progress.save(2, _Forgetful(), SceneMesher())
    assert progress.load()["done"] == 2
    assert VideoProgress(path, "another").load() is None
    for half in (path.read_bytes()[:100], b"not a checkpoint"):
        path.write_bytes(half)
        assert progress.load() is None
    progress.remove()
    assert progress.load() is None


def test_it_is_not_written_all_the_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(video_progress.time, "monotonic", lambda: now[0])
    progress, written = VideoProgress(tmp_path / "progress.pth", "this"), []
    for done in range(1, 8):
        now[0] += 12
        progress.save(done, _Forgetful(), SceneMesher())
        written.append((progress.load() or {}).get("done"))
    assert written == [None, None, 3, 3, 3, 6, 6]
