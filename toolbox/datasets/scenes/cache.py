"""Where importers keep what they derive from a source: undistorted images, decoded frames, registered depth.

Sources may be read-only. The cache is ``cache_dir``, else the environment variable ``TOOLBOX_CACHE``, else
``~/.cache/selfrecon-toolbox``; each source has a folder in it, named by a fingerprint of its files (path, size, time of
change) and of the parameters. It can be deleted at any time.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from toolbox.errors import UserError
from toolbox.io import write_json


def cache_folder(
    kind: str, sources: Iterable[Path], parameters: dict, cache_dir: str | Path | None = None, about: str = ""
) -> Path:
    """The folder for what is derived from ``sources`` with ``parameters``; made if missing.

    Args:
        kind: first part of the folder's name.
        sources: files whose path, size and time of change make the fingerprint.
        parameters: JSON values that change the result.
        about: noted in the folder's ``source.json``, for people.

    Raises:
        UserError: the cache cannot be written.
    """
    root = Path(cache_dir or os.environ.get("TOOLBOX_CACHE") or Path.home() / ".cache" / "selfrecon-toolbox")
    files = []
    for source in sources:
        stat = source.stat()
        files.append((str(source.resolve()), stat.st_size, stat.st_mtime_ns))
    digest = hashlib.sha256(json.dumps([files, parameters], sort_keys=True).encode()).hexdigest()[:16]
    folder = root / f"{kind}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "source.json").is_file():
            write_json(folder / "source.json", {"source": about, "files": len(files), "parameters": parameters})
    except OSError as error:
        raise UserError(
            root, f"cannot be written ({error.strerror})", "Set TOOLBOX_CACHE to a folder that can be"
        ) from error
    return folder


def make_missing(targets: dict[Path, Callable[[Path], None]], title: str) -> None:
    """Make the files that are not there yet; each maker writes its file atomically, so a killed run resumes.

    Args:
        targets: file -> what makes it.
        title: of the progress bar.
    """
    missing = [(path, make) for path, make in targets.items() if not path.is_file()]
    for path, make in tqdm(missing, desc=title, unit="file", disable=len(missing) < 2):
        make(path)
