"""Configs and options of the command line: what is read, and how mistakes are told."""

from pathlib import Path

import pytest

from toolbox.engine import config_mistakes, load_config, parse_options
from toolbox.errors import UserError

TEXT = """
custom_imports = dict(imports=["parts_of_this_test"], allow_failed_imports=False)
model = dict(type="Net", channels=[8, 16], head=dict(type="Head", norm="batch"))
pipeline = [dict(type="Crop", size=4), dict(type="Flip")]
train_cfg = dict(max_iters=10)
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "parts_of_this_test.py").write_text("")
    (tmp_path / "net.py").write_text(TEXT)
    return tmp_path / "net.py"


def test_options_are_set_on_top(config_file):
    options = [
        "train_cfg.max_iters=3",
        "model.channels=[4,6]",
        "model.head.groups=2",
        "pipeline.0.size=8",
        "randomness.seed=5",
        "work_dir=runs/a",
        "model.head.limits={'near': 1.5, 'far': None}",
    ]
    config = load_config(config_file, options)
    assert config.train_cfg.max_iters == 3
    assert config.model.channels == [4, 6]
    assert config.model.head == {"type": "Head", "norm": "batch", "groups": 2, "limits": {"near": 1.5, "far": None}}
    assert config.pipeline[0].size == 8
    assert config.randomness.seed == 5
    assert config.work_dir == "runs/a"


def test_values():
    parsed = parse_options(["a=1", "b=1e-3", "c=true", "d=None", "e=word", "f=1,2", "g=(1,x)", "h='a b'", "i=k=v"])
    assert parsed == {
        "a": 1, "b": 1e-3, "c": True, "d": None, "e": "word", "f": [1, 2], "g": (1, "x"), "h": "a b", "i": "k=v",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("trian_cfg.max_iters=3", "has no 'trian_cfg'.*It has: train_cfg"),
        ("model.haed.norm=none", "has no 'haed' in 'model'.*head"),
        ("pipeline.7.size=8", "has no '7' in 'pipeline'"),
        ("train_cfg.max_iters.x=1", "'train_cfg.max_iters' is a value"),
        ("model", "is not of the form key=value"),
        ("model.channels=[4,(6]", "cannot be read"),
    ],
)
def test_a_wrong_option_is_told(config_file, option, told):
    with pytest.raises(UserError, match=told):
        load_config(config_file, [option])


def test_a_missing_file_suggests_its_neighbours(config_file):
    with pytest.raises(UserError, match=r"nett\.py: there is no config file.*Near it lie: net\.py"):
        load_config(config_file.with_name("nett.py"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = dict(", "cannot be read.*Error"),
        ('_base_ = ["gone.py"]', "cannot be read.*gone"),
        ('custom_imports = dict(imports=["no_such_parts"])', "import of this config fails.*no_such_parts"),
    ],
)
def test_a_broken_config_is_told(tmp_path, text, told):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UserError, match=rf"(?s)broken\.py.*{told}"):
        load_config(tmp_path / "broken.py")


class Net:
    def __init__(self, channels: int):
        self.channels = channels


class Helper(Net):
    pass


def test_options_that_do_not_fit_a_component_are_the_configs_mistake(config_file):
    config = load_config(config_file)
    with pytest.raises(UserError, match=r"type='Net'.*unexpected keyword argument 'chanels'"), config_mistakes(config):
        Net(chanels=3)
    with pytest.raises(UserError, match=r"type='Net'.*missing 1 required"), config_mistakes(config):
        Net()
    # A class that the config does not name is called by code of ours: no mistake of the user's.
    with pytest.raises(TypeError), config_mistakes(config):
        type("Unnamed", (), {})(3)
