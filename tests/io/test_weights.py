"""Weights come from files and addresses; nothing in them is run, and no half or wrong file is kept."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest
import torch

from toolbox.errors import UserError
from toolbox.io import download_weights, is_address, read_weights


class Payload:
    """Makes a folder when unpickled freely."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """torch.hub's folder of checkpoints, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    return tmp_path / "home/hub/checkpoints"


@pytest.fixture
def published(tmp_path) -> Path:
    """A file that is named as torchvision names its files: by its SHA-256's first digits."""
    plain = tmp_path / "plain.pth"
    torch.save({"a": torch.arange(5.0)}, plain)
    (tmp_path / "published").mkdir()
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    return plain.rename(tmp_path / f"published/net-{digest[:8]}.pth")


@pytest.fixture
def server(published):
    """A web server on this machine with that folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=published.parent)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_file_is_downloaded_once(cache, published, server, scheme):
    address = published.as_uri() if scheme == "file" else f"{server}/{published.name}"
    first = download_weights(address, check_hash=True)
    assert first == cache / published.name
    torch.testing.assert_close(read_weights(first)["a"], torch.arange(5.0))
    published.unlink()
    assert download_weights(address, check_hash=True) == first


def test_a_file_that_is_not_what_its_name_says_is_not_kept(cache, published):
    published.write_bytes(published.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{published.name}: cannot be downloaded.*invalid hash value.*Give a path"):
        download_weights(published.as_uri(), check_hash=True, remedy="Give a path")
    assert list(cache.iterdir()) == []
    assert download_weights(published.as_uri()).is_file()


def test_what_is_not_there_is_named(cache, server):
    with pytest.raises(UserError, match=r"127\.0\.0\.1.*absent\.pth: cannot be downloaded.*404.*network"):
        download_weights(f"{server}/absent.pth")
    with pytest.raises(UserError, match=r"absent\.pth: cannot be downloaded"):
        download_weights("file:///nowhere/absent.pth")
    assert list(cache.iterdir()) == []


def test_addresses_and_paths(tmp_path):
    assert all(map(is_address, ("https://a.org/b.pth", "http://a.org/b.pth", "file:///b.pth")))
    assert not any(map(is_address, ("b.pth", "/tmp/b.pth", "s3://a/b.pth", tmp_path)))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path, zipped):
    trap, file = tmp_path / "trap", tmp_path / "evil.pth"
    torch.save({"a": Payload(trap)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"evil\.pth.*without running code.*mkdir"):
        read_weights(file)
    assert not trap.exists()
