"""docs/custom_components.md does what it says: its files are taken from there and run."""

import re
import sys
from pathlib import Path

import pytest

from toolbox.errors import UserError
from toolbox.registry import BACKBONES, HOOKS, LOSSES

ROOT = Path(__file__).resolve().parents[2]
NAMES = {BACKBONES: "ShallowFeatures", LOSSES: "RelativeDepthLoss", HOOKS: "NoteHook"}


@pytest.fixture
def documented() -> dict[str, str]:
    """Title -> content of the files in the document."""
    text = (ROOT / "docs/custom_components.md").read_text()
    return dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', text, flags=re.DOTALL))


@pytest.fixture(autouse=True)
def forgotten():
    """Leave neither names nor modules behind."""
    yield
    for registry, name in NAMES.items():
        registry.module_dict.pop(name, None)
    sys.modules.pop("my_parts", None)


def test_a_file_outside_the_package_trains(documented, run_tool, slim, tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for name in ("my_parts.py", "my_config.py"):
        (tmp_path / name).write_text(documented[name])
    options = [option for option in slim("model.backbone.channels=4") if option != "model.backbone.channels=(4,4)"]
    ended = run_tool("train", tmp_path / "my_config.py", *options)
    assert ended.code == 0, ended.err
    assert (tmp_path / "run/ended.txt").read_text() == "after 2 iterations\n"
    dumped = (tmp_path / "run/my_config.py").read_text()
    assert all(name in dumped for name in NAMES.values())


def test_each_component_takes_ten_lines(documented):
    parts = re.split(r"\n\n\n", documented["my_parts.py"].strip())
    classes = [[line for line in part.splitlines() if line.strip()] for part in parts if "class " in part]
    assert len(classes) == 3
    assert max(map(len, classes)) <= 10


def test_a_distribution_announces_its_parts(documented, tmp_path, monkeypatch):
    assert documented["pyproject.toml"].splitlines() == [
        '[project.entry-points."toolbox.plugins"]',
        'my_parts = "my_parts"',
    ]
    (tmp_path / "my_parts.py").write_text(documented["my_parts.py"])
    metadata = tmp_path / "my_parts-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-parts\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[toolbox.plugins]\nmy_parts = my_parts\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError):
        BACKBONES.get("ShallowFeatures")
    for registry, name in NAMES.items():
        monkeypatch.setattr(registry, "_imported", False)  # as in a new process
        assert registry.get(name).__module__ == "my_parts"


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[toolbox.plugins]\nbroken = no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(BACKBONES, "_imported", False)
    with pytest.raises(UserError, match=r"plugin 'broken'.*no_such_module"):
        BACKBONES.get("ShallowFeatures")
