"""What a work is, and where works are found."""

import difflib
import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from toolbox.errors import UserError

Run = Callable[[], dict[str, Any]]
Size = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What one run has to do at the least, however it is written; 0 where nobody counted.

    Attributes:
        flops: floating-point operations, a multiplication and an addition being two.
        moved_bytes: read from or written to memory.
    """

    flops: float = 0.0
    moved_bytes: float = 0.0


class Work(ABC):
    """A task of a certain size, whose input is made from a seed when it is constructed.

    Subclasses are constructed with the values of one of their ``sizes`` as keyword arguments, and ``device``.

    Attributes:
        sizes: 'tiny' (for the tests), 'small' (seconds), 'user' (what users do), and any others.
        reference_name: what ``reference`` is, in a few words; None where there is none.
        growth: for each quantity, its values and what they change in the size 'growth' (or else 'small').
    """

    sizes: ClassVar[dict[str, Size]]
    reference_name: ClassVar[str | None] = None
    growth: ClassVar[dict[str, dict[int, Size]]] = {}

    @abstractmethod
    def ours(self) -> Run:
        """Get ready, and return what is measured: a function that does the work once and returns named arrays."""

    def reference(self) -> Run:
        """The same task by plain code, with outputs of the same names."""
        raise NotImplementedError(f"{type(self).__name__} has no reference")

    def cost(self) -> Cost:
        """What the task costs at the least."""
        return Cost()


def work_names() -> list[str]:
    """All works."""
    from benchmarks import works

    return sorted(module.name for module in pkgutil.iter_modules(works.__path__))


def find_work(name: str) -> type[Work]:
    """The work of that name.

    Raises:
        UserError: there is none (says which are near).
    """
    names = work_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise UserError(f"'{name}'", "is no work", f"Choose one of {', '.join(near)}")
    module = importlib.import_module(f"benchmarks.works.{name}")
    found = [
        value
        for value in vars(module).values()
        if Work in getattr(value, "__mro__", ()) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise UserError(module.__file__, f"defines {len(found)} works", "Define exactly one subclass of Work")
    return found[0]


def size_of(work: type[Work], name: str) -> Size:
    """The values of a size.

    Raises:
        UserError: the work has no such size.
    """
    if name not in work.sizes:
        raise UserError(f"--size {name}", f"is no size of {work.__name__}", f"Choose one of {', '.join(work.sizes)}")
    return work.sizes[name]
