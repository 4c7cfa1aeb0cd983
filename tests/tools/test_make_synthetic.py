"""tools/make_synthetic.py as the user runs it."""

import json

import pytest

from toolbox.io import image_size


def test_tabletops(run_tool, tmp_path):
    out = tmp_path / "set"
    arguments = [
        "--layout",
        "dtu",
        "--scenes",
        "1",
        "--views",
        "2",
        "--seed",
        "5",
        "--size",
        "36x48",
        "--lightings",
        "1",
    ]
    ended = run_tool("make_synthetic", *arguments, "--out", out)
    assert ended.code == 0, ended.err
    assert image_size(out / "Rectified/scan1_train/rect_002_0_r5000.png") == (36, 48)
    assert json.loads((out / "synthetic.json").read_text())["parameters"]["seed"] == 5
    # Again: nothing is left to do. With another seed: refused.
    assert run_tool("make_synthetic", *arguments, "--out", out).code == 0
    arguments[arguments.index("5")] = "6"
    refused = run_tool("make_synthetic", *arguments, "--out", out)
    assert refused.code == 2
    assert str(out) in refused.err
    assert "seed 5 instead of 6" in refused.err


def test_rooms(run_tool, tmp_path):
    numbers = ["--scenes", "1", "--views", "1", "--seed", "1", "--height", "36", "--width", "48", "--workers", "1"]
    ended = run_tool("make_synthetic", "--layout", "scannet", *numbers, "--out", tmp_path / "set")
    assert ended.code == 0, ended.err
    assert image_size(tmp_path / "set/scene0000_00/color/0.jpg") == (36, 48)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layout", "dtu", "--views", "0"], "views=0"),
        (["--layout", "dtu", "--views", "2", "--lightings", "9"], "lightings=9"),
        (["--layout", "scannet", "--views", "2", "--lightings", "3"], "--lightings"),
        (["--layout", "scannet", "--views", "2", "--test-scenes", "1"], "--test-scenes"),
        (["--layout", "dtu", "--views", "2", "--workers", "0"], "--workers 0"),
        (["--layout", "dtu", "--views", "2", "--height", "0"], "height=0"),
        (["--layout", "dtu", "--views", "2", "--size", "big"], "'big' is no size"),
        (["--layout", "kitti", "--views", "2"], "invalid choice"),
    ],
)
def test_bad_arguments(run_tool, tmp_path, arguments, message):
    ended = run_tool("make_synthetic", *arguments, "--scenes", "1", "--out", tmp_path / "set")
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "set").exists()
