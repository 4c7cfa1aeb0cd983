"""Check what pip cannot install: Python's version, the venv module, and the shared libraries that the wheels open.

Missing packages are installed with apt-get where the user is root, and named otherwise (exit status 2). Runs before
anything is installed, on the standard library alone, and without annotations so that an older Python gets the message
instead of a syntax error:

    python tools/check_system.py
"""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys

OLDEST_PYTHON = (3, 10)

# Shared library -> Debian package. Found by reading which libraries outside the wheels are open after importing them.
LIBRARIES = {
    "libGL.so.1": "libgl1",  # opencv-python, open3d
    "libEGL.so.1": "libegl1",  # pyrender without a display
    "libX11.so.6": "libx11-6",  # open3d
    "libXrender.so.1": "libxrender1",  # pyrender, through pyglet
    "libgthread-2.0.so.0": "libglib2.0-0",  # opencv-python
    "libgomp.so.1": "libgomp1",  # open3d
}
# Python 3.13 and later take open3d 0.20 (see requirements/constraints.txt), which opens these two besides.
LIBRARIES_OPEN3D_020 = {"libusb-1.0.so.0": "libusb-1.0-0", "libudev.so.1": "libudev1"}
# Exit status 0 where EGL lists a device. An EGL too old to list them has a default display.
EGL_DEVICES = """
import ctypes
egl = ctypes.CDLL("libEGL.so.1")
egl.eglGetProcAddress.restype = ctypes.c_void_p
address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
count = ctypes.c_int(0 if address else 1)
if address:
    list_devices = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))(address)
    list_devices(0, None, ctypes.byref(count))
raise SystemExit(0 if count.value > 0 else 1)
"""


def needed_libraries():
    """Shared library -> Debian package, for this interpreter."""
    if not sys.platform.startswith("linux"):
        return {}
    return {**LIBRARIES, **(LIBRARIES_OPEN3D_020 if sys.version_info >= (3, 13) else {})}


def can_load(library):
    """Whether the dynamic linker finds a shared library and all that it needs."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def finds_egl_device():
    """Whether libEGL finds something to draw on without a display: a GPU's driver, or Mesa, which draws on the CPU."""
    # In a process of its own: libEGL looks for drivers once, and would not see one that is installed afterwards.
    return subprocess.call([sys.executable, "-c", EGL_DEVICES]) == 0


def missing_parts():
    """What is missing (a shared library, a driver, the venv module) -> the Debian package that has it."""
    missing = {library: package for library, package in needed_libraries().items() if not can_load(library)}
    if "libEGL.so.1" in needed_libraries() and ("libEGL.so.1" in missing or not finds_egl_device()):
        missing["a driver for libEGL"] = "libegl-mesa0"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        missing["venv"] = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    return missing


def fail(message):
    """End with one paragraph and exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def install(packages):
    """Install Debian packages; the user is root."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        print("+ " + " ".join(command), flush=True)
        if subprocess.run(command, env=environment).returncode != 0:
            fail(f"'{' '.join(command)}' failed. Install these packages by hand: {' '.join(packages)}.")


def main():
    """Check, install or explain."""
    if sys.version_info < OLDEST_PYTHON:
        fail(
            f"Python {sys.version.split()[0]} ({sys.executable}) is too old: the toolbox needs 3.10 or newer. "
            "Name another interpreter, for example: make PYTHON=python3.11 test."
        )
    missing = missing_parts()
    if not missing:
        return
    packages = sorted(set(missing.values()))
    found = f"missing on this system: {', '.join(missing)}"
    if shutil.which("apt-get") is None:
        fail(f"{found}. On Debian these are in the packages {' '.join(packages)}; install their counterparts here.")
    if os.geteuid() != 0:
        fail(f"{found}. Run: sudo apt-get install {' '.join(packages)}")
    print(f"{found}; installing {' '.join(packages)}", flush=True)
    install(packages)
    importlib.invalidate_caches()
    if missing_parts():
        fail(f"still missing after installing {' '.join(packages)}: {', '.join(missing_parts())}.")


if __name__ == "__main__":
    main()
