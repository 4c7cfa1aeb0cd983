"""The check before anything is installed: what is missing is named, with its package; root gets it installed."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tools import check_system


@pytest.fixture
def without_egl(monkeypatch) -> SimpleNamespace:
    """A Debian without libEGL; ``commands`` collects what would be run, and running apt-get install mends it."""
    system = SimpleNamespace(commands=[], missing={"libEGL.so.1"}, user=1000, status=0)

    def run(command, env):
        assert env["DEBIAN_FRONTEND"] == "noninteractive"
        system.commands.append(command)
        if "install" in command and system.status == 0:
            system.missing.clear()
        return SimpleNamespace(returncode=system.status)

    monkeypatch.setattr(check_system, "can_load", lambda library: library not in system.missing)
    monkeypatch.setattr(check_system, "finds_egl_device", lambda: "driver" not in system.missing)
    monkeypatch.setattr(check_system.subprocess, "run", run)
    monkeypatch.setattr(check_system.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(check_system.os, "geteuid", lambda: system.user)
    monkeypatch.setattr(check_system.sys, "platform", "linux")
    return system


def ending(capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        check_system.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_this_machine_passes():
    """The suite runs here, so everything is there; -S hides what is installed, as before the installation."""
    done = subprocess.run([sys.executable, "-S", check_system.__file__], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_library_that_is_not_there_cannot_be_loaded():
    assert not check_system.can_load("libno-such-thing.so.1")


def test_a_user_gets_the_exact_line(without_egl, capsys):
    message = ending(capsys)
    assert message == (
        "error: missing on this system: libEGL.so.1, a driver for libEGL. "
        "Run: sudo apt-get install libegl-mesa0 libegl1\n"
    )
    assert without_egl.commands == []


def test_root_gets_it_installed(without_egl, capsys):
    without_egl.user = 0
    check_system.main()
    assert [command[:2] for command in without_egl.commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert without_egl.commands[1][-2:] == ["libegl-mesa0", "libegl1"]
    assert "libEGL.so.1" in capsys.readouterr().out


def test_a_failing_installation_is_told(without_egl, capsys):
    without_egl.user, without_egl.status = 0, 100
    assert "'apt-get update' failed. Install these packages by hand: libegl-mesa0 libegl1." in ending(capsys)


def test_without_apt_the_packages_are_named(without_egl, capsys, monkeypatch):
    monkeypatch.setattr(check_system.shutil, "which", lambda name: None)
    assert "libegl1; install their counterparts" in ending(capsys)


def test_a_missing_driver_is_named(without_egl, capsys):
    without_egl.missing = {"driver"}
    assert "a driver for libEGL. Run: sudo apt-get install libegl-mesa0\n" in ending(capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="EGL's drivers are looked for on Linux alone")
def test_the_driver_is_looked_for(monkeypatch, tmp_path):
    assert check_system.finds_egl_device()
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(tmp_path))
    assert not check_system.finds_egl_device()


def test_a_missing_venv_module_is_named(without_egl, capsys, monkeypatch):
    without_egl.missing = set()
    monkeypatch.setattr(check_system.importlib.util, "find_spec", lambda name: None)
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert f"venv. Run: sudo apt-get install {package}" in ending(capsys)


def test_an_old_python_is_told(capsys, monkeypatch):
    monkeypatch.setattr(check_system, "OLDEST_PYTHON", (99, 0))
    assert "is too old" in ending(capsys)


@pytest.mark.parametrize(("version", "needed"), [((3, 12, 0), False), ((3, 13, 0), True)])
def test_libusb_is_needed_from_python_3_13(monkeypatch, version, needed):
    monkeypatch.setattr(check_system.sys, "platform", "linux")
    monkeypatch.setattr(check_system.sys, "version_info", version)
    assert ("libusb-1.0.so.0" in check_system.needed_libraries()) is needed


def test_other_systems_need_no_library(monkeypatch):
    monkeypatch.setattr(check_system.sys, "platform", "darwin")
    assert check_system.needed_libraries() == {}
