"""Settings of pipelines from configs and the command line."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from toolbox.errors import UserError


def check_names(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are, if each is one of a dataclass.

    Raises:
        UserError: a name is not.
    """
    known = [field.name for field in fields(kind)]
    if unknown := [name for name in given if name not in known]:
        raise UserError(f"setting '{unknown[0]}'", f"is none of {kind.__name__}", f"It has: {', '.join(known)}")
    return dict(given)
