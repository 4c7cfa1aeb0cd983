"""Files of weights: read without running anything in them, and downloaded whole or not at all."""

import pickle
import re
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

import torch
from mmengine.dist import barrier, get_dist_info

from toolbox.errors import UserError

_ADDRESS = re.compile(r"(https?|file)://")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def read_weights(
    path: str | Path, map_location: str | torch.device | Callable | None = "cpu", safe_globals: Sequence = ()
) -> dict:
    """Read a file that ``torch.save`` wrote: tensors, containers and plain values, never code.

    Args:
        map_location: where the tensors go, as in ``torch.load``.
        safe_globals: what else the file may name, as in ``torch.serialization.safe_globals``.

    Raises:
        UserError: the file is missing, truncated, holds something other than a dict, or needs code to be unpickled;
            names the file and what it asks for.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(path, "there is no checkpoint file of that name", "Check the path")
    if file.stat().st_size == 0:
        raise UserError(path, "the checkpoint is empty", "Restore the file, or take an earlier checkpoint")
    try:
        with torch.serialization.safe_globals(list(safe_globals)):
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unpickling_error(path, file, safe_globals, error) from error
    except Exception as error:  # spoilt bytes make the reader stumble in any way
        raise UserError(
            path,
            f"the checkpoint is truncated or corrupt ({type(error).__name__}: {_first_sentence(error)})",
            "Copy or download it again, or take an earlier checkpoint",
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            path,
            f"the checkpoint holds a {type(checkpoint).__name__}, not a dict of weights",
            "Save a state dict (model.state_dict()), or a dict with 'state_dict' in it",
        )
    return checkpoint


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n")[0].split(". ")[0].rstrip(".")[:200]


def _unpickling_error(path: str | Path, file: Path, safe_globals: Sequence, error: Exception) -> UserError:
    try:
        with torch.serialization.safe_globals(list(safe_globals)):
            wanted = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except (ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError):
        wanted = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]  # a file of torch < 1.6
    if not wanted:
        return UserError(
            path,
            "is no checkpoint, or a corrupt one: it cannot be read as tensors and plain values",
            "Copy or download it again, or take another file",
        )
    names = ", ".join(f"'{name}'" for name in wanted[:3]) + (f" and {len(wanted) - 3} more" if len(wanted) > 3 else "")
    return UserError(
        path,
        f"the checkpoint cannot be read without running code from it: it asks for {names}",
        "Where it was written, save the weights alone (torch.save(model.state_dict(), path)) and load that file",
    )


def is_address(path: str | Path) -> bool:
    """Whether a file is named by its address (http, https or file) and not by its path."""
    return isinstance(path, str) and bool(_ADDRESS.match(path))


def download_weights(address: str, check_hash: bool = False, remedy: str = "Check the address and the network") -> Path:
    """The file behind an address, downloaded once, by each machine's first process, into torch.hub's ``checkpoints``.

    Args:
        check_hash: the file's SHA-256 has to begin with what its name ends with (vgg16-397923af.pth), as the names of
            torchvision's files say.
        remedy: what to tell the user to do where it cannot be had.

    Raises:
        UserError: it cannot be downloaded, or is not the file that its name says; nothing is kept then.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target = folder / address.split("?")[0].rsplit("/", 1)[-1]
    said = _HASH_IN_NAME.search(target.name) if check_hash else None
    rank, world_size = get_dist_info()
    try:
        if rank == 0 and not target.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(target), hash_prefix=said and said[1], progress=False)
    except (OSError, HTTPException, RuntimeError, ValueError) as error:
        raise UserError(address, f"cannot be downloaded to {target} ({error})", remedy) from error
    finally:
        if world_size > 1:
            barrier()
    return target
