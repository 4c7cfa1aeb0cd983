"""tools/list_components.py: every registry, one line per component."""

import pytest

from toolbox.registry import REGISTRIES


def test_every_component_has_its_line(run_tool):
    ended = run_tool("list_components")
    assert ended.code == 0
    lines = ended.out.splitlines()
    for title, registry in REGISTRIES.items():
        if registry.names():
            assert f"{title} ({len(registry)})" in lines
        for name in registry.names():
            (line,) = [line for line in lines if line.split()[0] == name]
            assert len(line.split()) > 1, f"{name} has no docstring"
    assert "  Variance" in ended.out
    assert "CheckpointHook" not in ended.out


def test_one_registry_with_what_it_inherits(run_tool):
    ended = run_tool("list_components", "HOOKS", "--all")
    assert ended.code == 0
    assert "CheckpointHook" in ended.out
    assert "DepthPictureHook" in ended.out
    assert "BACKBONES" not in ended.out


@pytest.mark.parametrize("name", ["HOKS", "hooks"])
def test_an_unknown_registry_is_told(run_tool, name):
    ended = run_tool("list_components", name)
    assert ended.code == 2
    assert f"no registry {name}" in ended.err
