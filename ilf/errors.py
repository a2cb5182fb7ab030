"""Every error a user can meet, as one tree; each carries the exit status of the command line.

IlfError              1   something went wrong; the message says where, what, and what to do next
├── UsageError        2   the command or the recipe is wrong; found before any work
├── DataError         1   rows that cannot be used: file, row and column are named
├── ComponentError    1   a component cannot do its work here (a package, a model, a sandbox is missing)
│   └── Unreachable   1   a server does not answer now; it may later
├── Busy              1   another process holds the step
└── Waiting          75   people have not answered yet; run again later (EX_TEMPFAIL)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class IlfError(Exception):
    """Base of all errors meant for a user; ``exit_status`` is what the command line returns."""

    exit_status = 1


class UsageError(IlfError):
    """The command line or a recipe is wrong; raised before any work is done."""

    exit_status = 2


class DataError(IlfError):
    """Rows that cannot be used; the message names file, row and column."""


class ComponentError(IlfError):
    """A component cannot work here; the message names what is missing and how to get it."""


class Unreachable(ComponentError):
    """A server does not answer, or asks to come back later; the same command later may find it well."""


class Busy(IlfError):
    """Another process is working on the same step; the message says which."""


class Waiting(IlfError):
    """People have not answered yet; running the same command later goes on.

    ``done`` of ``total`` are answered, where the source knows.
    """

    exit_status = 75

    def __init__(self, message: str, done: int | None = None, total: int | None = None) -> None:
        super().__init__(message)
        self.done, self.total = done, total


def listed(problems: Sequence[str], first: int = 20) -> str:
    """All problems of one kind as one message: the first ``first`` in full, all of them counted."""
    shown = "\n".join(f"  {p}" for p in problems[:first])
    more = len(problems) - first
    return shown + (f"\n  ... and {more} more" if more > 0 else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the known word nearest to a misspelt one, or an empty string."""
    match = get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""
