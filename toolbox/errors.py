"""Errors that a user can act on."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Bad input: which file (or setting), what is wrong with it, and what to do.

    Args:
        where: the file, folder or setting at fault.
        fault: what is wrong with it, and what was expected.
        remedy: what the user can do about it.
    """

    def __init__(self, where: str | Path, fault: str, remedy: str):
        self.where, self.fault, self.remedy = str(where), fault, remedy
        super().__init__(f"{where}: {fault.rstrip('.')}. {remedy.rstrip('.')}.")


def exit_on_user_error(main: Callable[[], None]) -> Callable[[], None]:
    """Make a tool's ``main`` end a user's mistake with one paragraph and exit status 2, and no traceback."""

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapped
