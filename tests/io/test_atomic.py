"""Files are whole or absent, whatever happens while they are written."""

import json

import pytest

from toolbox.io import atomic_path, write_json, write_text


def test_the_old_file_survives_an_exception(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError("killed")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_an_exception_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert list((tmp_path / "deep").iterdir()) == []


def test_nobody_sees_the_file_before_it_is_whole(tmp_path):
    with atomic_path(tmp_path / "deep" / "a.png") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "deep"
        assert not (tmp_path / "deep" / "a.png").exists()
    assert (tmp_path / "deep" / "a.png").read_text() == "new"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "δ < 1.25")
    assert (tmp_path / "a.txt").read_bytes() == "δ < 1.25".encode()


def test_json_has_no_numbers_that_json_has_not(tmp_path):
    write_json(tmp_path / "a.json", {"error": 0.25})
    assert json.loads((tmp_path / "a.json").read_text()) == {"error": 0.25}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"error": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"error": 0.25}
