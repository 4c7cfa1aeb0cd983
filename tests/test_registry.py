"""Registries: names are found lazily, through mmengine's, and a wrong one is answered with the nearest."""

import subprocess
import sys

import pytest
from mmengine.hooks import CheckpointHook
from torch import nn

from toolbox.errors import UserError
from toolbox.registry import BACKBONES, HOOKS, LOSSES, MODELS, REGISTRIES


def test_an_unknown_name_suggests_the_nearest():
    class MeadowFeatures(nn.Module):
        pass

    BACKBONES.register_module(module=MeadowFeatures)
    try:
        with pytest.raises(UserError, match=r"type='MedowFeature': .*'backbone'\. .*MeadowFeatures") as raised:
            BACKBONES.build({"type": "MedowFeature"})
        assert "custom_imports" in str(raised.value)
    finally:
        BACKBONES.module_dict.pop("MeadowFeatures")


def test_an_unknown_name_unlike_any_still_lists_some():
    with pytest.raises(UserError, match=r"'loss'\. Nearest registered names: \w+"):
        LOSSES.build({"type": "zzzzzzzzzz"})


def test_names_of_mmengine_are_found_and_suggested():
    assert HOOKS.get("CheckpointHook") is CheckpointHook
    with pytest.raises(UserError, match="CheckpointHook"):
        HOOKS.get("ChekpointHook")


def test_a_component_registers_once():
    class PassThrough(nn.Module):
        pass

    MODELS.register_module(module=PassThrough)
    try:
        assert isinstance(MODELS.build({"type": "PassThrough"}), PassThrough)
        assert isinstance(MODELS.build({"type": "toolbox.PassThrough"}), PassThrough)
        with pytest.raises(KeyError, match="PassThrough is already registered"):
            MODELS.register_module(module=PassThrough)
    finally:
        MODELS.module_dict.pop("PassThrough")


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=REGISTRIES.keys())
def test_every_registry_can_list_its_names(registry):
    names = registry.names()
    assert names == sorted(names)
    assert all(registry.get(name) is not None for name in names)


def test_importing_the_registries_imports_no_room():
    code = (
        "import sys, toolbox.registry; "
        "print([m for m in sys.modules if m.startswith(('toolbox.models', 'toolbox.datasets', 'toolbox.engine'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
