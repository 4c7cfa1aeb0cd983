"""A data set's folder: what it holds, whether it may be continued, and writing it on several threads."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from tqdm import tqdm

from toolbox.errors import UserError
from toolbox.io import write_json, write_text

MANIFEST = "synthetic.json"
README = "README.txt"

# Raised whenever the same parameters give other bytes than before.
_FORMAT = 1


@dataclass(frozen=True)
class Parameters:
    """What decides a data set's bytes.

    Attributes:
        layout: 'dtu' or 'scannet'.
        seed: of everything random.
        scenes: number of scenes (of training scans, in the layout of DTU).
        views: views of a scene.
        height, width: of images and depth maps.
        lightings: images of a view (layout of DTU).
        test_scenes: scans in MVSNet's test form (layout of DTU).
    """

    layout: str
    seed: int
    scenes: int
    views: int
    height: int
    width: int
    lightings: int = 1
    test_scenes: int = 0

    def check(self) -> None:
        """Raise UserError where a number is out of range."""
        lowest = {"seed": 0, "scenes": 0, "views": 1, "height": 32, "width": 32, "lightings": 1, "test_scenes": 0}
        highest = {"lightings": 7, "height": 8192, "width": 8192}
        for name, low in lowest.items():
            value, high = getattr(self, name), highest.get(name)
            if value < low or (high is not None and value > high):
                span = f"at least {low}" if high is None else f"from {low} to {high}"
                raise UserError(f"{name}={value}", "is out of range", f"Give a number {span}")
        if self.scenes + self.test_scenes == 0:
            raise UserError("scenes=0", "asks for no scene at all", "Give at least one scene")


def open_folder(out: Path, parameters: Parameters, readme: str) -> None:
    """Begin a data set in an empty or new folder, or continue the very same one.

    Raises:
        UserError: the parameters are out of range, or the folder holds anything else.
    """
    parameters.check()
    manifest = {"format": _FORMAT, **asdict(parameters)}
    path = out / MANIFEST
    remedy = "Choose an empty folder, or repeat the parameters of the data set to continue it"
    if out.exists() and not out.is_dir():
        raise UserError(out, "is no folder", remedy)
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["parameters"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(path, "does not describe a data set", remedy) from error
        differing = [key for key in manifest if found.get(key) != manifest[key]]
        if differing:
            listing = ", ".join(f"{key} {found.get(key)} instead of {manifest[key]}" for key in differing)
            raise UserError(out, f"holds another data set ({listing})", remedy)
    elif out.is_dir() and any(out.iterdir()):
        raise UserError(out, f"is not empty and holds no {MANIFEST}", remedy)
    else:
        write_json(path, {"parameters": manifest, "made_with": _versions()})
    write_text(out / README, readme)


def _versions() -> dict[str, str]:
    """The packages whose arithmetic decides the bytes."""
    found = {}
    for name in ("numpy", "torch", "opencv-python", "opencv-python-headless", "open3d", "open3d-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep torch from starting its own threads inside of ours."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_all(tasks: Sequence[Callable[[], None]], workers: int | None, bar: tqdm, steps: int) -> None:
    """Run independent tasks on ``workers`` threads (None: one for each processor); each moves the bar by ``steps``.

    The first error, or an interruption, stops what has not begun, and is raised.
    """
    with _one_thread_each(), ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            for finished in as_completed([pool.submit(task) for task in tasks]):
                finished.result()
                bar.update(steps)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
