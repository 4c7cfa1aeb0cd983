from pathlib import Path

import pytest
import torch

from toolbox.errors import UserError
from toolbox.pipelines.feature_store import FeatureStore
from toolbox.pipelines.stages import Manifest, fingerprint, fingerprint_weights


def test_a_stage_is_redone_only_when_what_it_was_made_from_changes(tmp_path: Path):
    output = tmp_path / "result.txt"
    assert not Manifest(tmp_path).begin("depth", "a", [output])
    output.write_text("half")
    assert not Manifest(tmp_path).begin("depth", "a", [output]), "killed before it was complete: resumed"
    assert output.exists(), "what was computed is kept"
    manifest = Manifest(tmp_path)
    manifest.begin("depth", "a", [output])
    manifest.finish("depth", seconds=3.0)
    assert Manifest(tmp_path).begin("depth", "a", [output])
    assert Manifest(tmp_path).facts("depth") == {"seconds": 3.0}
    assert not Manifest(tmp_path).begin("depth", "b", [output])
    assert not output.exists(), "made from something else: removed"


def test_a_lost_output_is_made_again(tmp_path: Path):
    manifest = Manifest(tmp_path)
    manifest.begin("depth", "a", [tmp_path / "x"])
    manifest.finish("depth")
    assert not manifest.begin("depth", "a", [tmp_path / "x"])


def test_a_broken_manifest_is_named(tmp_path: Path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json"):
        Manifest(tmp_path)


def test_fingerprints():
    assert fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    one, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    assert fingerprint_weights(one) != fingerprint_weights(other)
    other.load_state_dict(one.state_dict())
    assert fingerprint_weights(one) == fingerprint_weights(other)


@pytest.mark.parametrize("max_bytes", [10**9, 900, 1])
def test_features_are_computed_once_whatever_fits(tmp_path: Path, max_bytes: int):
    computed = []

    def compute(view_id: int) -> list[torch.Tensor]:
        computed.append(view_id)
        return [torch.full((1, 4, 5, 6), float(view_id)), torch.zeros(1, 4, 2, 3)]

    scratch = tmp_path / "scratch"
    with FeatureStore(compute, scratch, max_bytes) as store:
        for view_id in (0, 1, 2, 0, 1, 2, 2, 0):
            assert (store[view_id][0] == view_id).all() and len(store[view_id]) == 2
        assert scratch.exists() == (max_bytes < 10**9)
    assert computed == [0, 1, 2]
    assert not scratch.exists()
