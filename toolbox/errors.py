"""Errors that a user can act on."""

import functools
import re
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

    def __reduce__(self) -> tuple:
        return UserError, (self.where, self.fault, self.remedy)


def user_message(error: BaseException) -> str | None:
    """What to tell the user if a ``UserError`` is behind an exception, else None.

    It may be the exception itself, what it was raised from, or (from a data loader's worker process, which passes
    tracebacks on as text) the last line of its message.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, UserError):
            return str(seen)
        reported = re.search(r"^toolbox\.errors\.UserError: (.+)\Z", str(seen).strip(), flags=re.MULTILINE | re.DOTALL)
        if reported:
            return reported[1]
        seen = seen.__cause__
    return None


def exit_on_user_error(main: Callable[[], None]) -> Callable[[], None]:
    """Make a tool's ``main`` end a user's mistake with one paragraph and exit status 2, and no traceback."""

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            print(f"error: {message}", file=sys.stderr)
            sys.exit(2)

    return wrapped
