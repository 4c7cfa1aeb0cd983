"""Checkpoints are read without running anything in them, and have to fit."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, save_checkpoint
from torch import nn

from toolbox.engine import load_checkpoint_file, load_weights, register_safe_loading
from toolbox.errors import UserError


class Payload:
    """Makes a file when unpickled freely."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_what_mmengine_writes_comes_back(tmp_path):
    history = HistoryBuffer([1.5, 2.5], [1, 1])
    values = {
        "message_hub": {"log_scalars": {"train/loss": history}},
        "scalar": np.float64(3.5),
        "count": np.int64(7),
        "flag": np.bool_(True),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "names": np.array(["a", "bc"]),
        "state_dict": net().state_dict(),
    }
    save_checkpoint(values, str(tmp_path / "run.pth"))
    loaded = load_checkpoint_file(tmp_path / "run.pth")
    restored = loaded["message_hub"]["log_scalars"]["train/loss"]
    assert type(restored) is HistoryBuffer
    assert restored.data[0].tolist() == [1.5, 2.5]
    assert restored.mean() == 2.0
    assert (loaded["scalar"], loaded["count"], loaded["flag"]) == (3.5, 7, True)
    np.testing.assert_array_equal(loaded["array"], values["array"])
    assert loaded["names"].tolist() == ["a", "bc"]
    save_checkpoint(loaded, str(tmp_path / "again.pth"))
    assert load_checkpoint_file(tmp_path / "again.pth")["scalar"] == 3.5


@pytest.mark.parametrize("core", [b"core", b"_core"])
def test_numpy_is_found_by_the_names_of_version_1_and_2(tmp_path, core):
    file = tmp_path / "numbers.pth"
    torch.save({"a": np.float32(2.5), "b": np.arange(3)}, file, _use_new_zipfile_serialization=False)
    renamed = re.sub(rb"cnumpy\._?core\.multiarray\n", b"cnumpy." + core + b".multiarray\n", file.read_bytes())
    assert b"numpy." + core in renamed
    file.write_bytes(renamed)
    loaded = load_checkpoint_file(file)
    assert (loaded["a"], loaded["b"].tolist()) == (2.5, [0, 1, 2])


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path, zipped):
    trap, file = tmp_path / "trap", tmp_path / "evil.pth"
    torch.save({"state_dict": Payload(trap)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"evil\.pth.*without running code.*mkdir.*save the weights alone"):
        load_checkpoint_file(file)
    assert not trap.exists()


@pytest.mark.parametrize("scheme", ["", "http://", "https://"])
def test_mmengine_loads_safely_through_every_scheme(tmp_path, monkeypatch, scheme):
    trap = tmp_path / "trap"
    torch.save({"state_dict": Payload(trap)}, tmp_path / "evil.pth")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "evil.pth").rename(tmp_path / "hub/checkpoints/evil.pth")
    register_safe_loading()
    name = f"{scheme}example.org/evil.pth" if scheme else str(tmp_path / "hub/checkpoints/evil.pth")
    with pytest.raises(UserError, match="without running code"):
        CheckpointLoader.load_checkpoint(name)
    assert not trap.exists()


@pytest.mark.parametrize(
    "name", ["pavi://a.pth", "s3://bucket/a.pth", "open-mmlab://resnet", "torchvision://no_such_net"]
)
def test_other_schemes_are_refused(name):
    register_safe_loading()
    with pytest.raises(UserError):
        CheckpointLoader.load_checkpoint(name)


def test_a_history_buffer_brings_no_functions(tmp_path):
    class Disguised(HistoryBuffer):
        def __reduce__(self) -> tuple:
            methods = {"mean": HistoryBuffer.max, "own": HistoryBuffer.min}
            state = {"max_length": 9, "_log_history": np.ones(2), "_count_history": np.ones(2)}
            return HistoryBuffer, (), state | {"statistics_methods": methods, "mean": 5}

    torch.save({"a": Disguised()}, tmp_path / "a.pth")
    loaded = load_checkpoint_file(tmp_path / "a.pth")["a"]
    assert set(loaded.__dict__) == {"max_length", "_log_history", "_count_history"}
    assert "own" not in HistoryBuffer._statistics_methods
    assert HistoryBuffer._statistics_methods["mean"] is HistoryBuffer.mean


def test_damaged_files_are_named(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save({"state_dict": {"a": torch.rand(1000)}}, whole)
    cases = {
        "half.pth": (whole.read_bytes()[: whole.stat().st_size // 2], "truncated or corrupt"),
        "text.pth": (b"not a checkpoint", "corrupt"),
        "empty.pth": (b"", "is empty"),
    }
    for name, (content, fault) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}.*{fault}"):
            load_checkpoint_file(tmp_path / name)
    with pytest.raises(UserError, match=r"none\.pth.*no checkpoint file"):
        load_checkpoint_file(tmp_path / "none.pth")
    torch.save(torch.rand(3), tmp_path / "tensor.pth")
    with pytest.raises(UserError, match="holds a Tensor"):
        load_checkpoint_file(tmp_path / "tensor.pth")


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_weights_are_loaded_exactly(tmp_path, prefix, wrapped):
    torch.manual_seed(3)
    source, target = net(), net()
    weights = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({"state_dict": weights, "meta": {"epoch": 2}} if wrapped else weights, tmp_path / "net.pth")
    assert load_weights(target, tmp_path / "net.pth") == ({"epoch": 2} if wrapped else {})
    torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_another_architecture_is_told_by_counts_and_examples(tmp_path):
    other = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Identity(), nn.Linear(2, 2))
    torch.save({"state_dict": other.state_dict()}, tmp_path / "other.pth")
    target = net()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(target, tmp_path / "other.pth")
    text = str(caught.value)
    assert "other.pth" in text
    assert "4 weights of the model are missing (e.g. 1.weight)" in text
    assert "2 weights are unknown to it (e.g. 2.weight)" in text
    assert "2 have another shape (e.g. 0.weight is (5, 3, 3, 3) and not (4, 3, 3, 3))" in text
    assert "\n" not in text
    torch.testing.assert_close(target.state_dict(), before, rtol=0, atol=0)


def test_a_file_without_weights_is_told(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}, "epoch": 3}, tmp_path / "published.pth")
    with pytest.raises(UserError, match=r"holds no weights \(it has: model, epoch\)"):
        load_weights(net(), tmp_path / "published.pth")
