"""select: the rows that people should look at first, chosen before anybody is asked (active learning)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ilf.errors import DataError, UsageError
from ilf.protocols import Row, Selector
from ilf.records import as_sequence, check
from rankers import missing_model

#: Which rows are kept depends on all of them, so an unfinished step starts again.
WINDOW = None


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and the one that is added; UsageError where the selector lacks a model."""
    _check_n(arguments["n"])
    if problem := missing_model(arguments["selector"]):
        raise UsageError(f"{problem}.")
    return ("id", *arguments["selector"].needs), ("priority",)


def select(rows: Iterable[Row], *, n: int, selector: Selector, seed: int = 0, done: int = 0) -> Iterator[Row]:
    """Yields the ``n`` rows that the selector wants people to look at, most wanted first; adds ``priority``.

    ``priority`` is the selector's score, higher is more wanted; None where it has none. Collect and then buy
    behind it, and a smaller budget pays for the most wanted ones. DataError where there are fewer than ``n``
    rows.
    """
    _check_n(n)
    rows = as_sequence(rows)
    check(rows, ("id", *selector.needs), "select")
    if n > len(rows):
        raise DataError(
            f"select: {n} rows were asked for and there are {len(rows)} to choose from. Load more (load.n), "
            "or lower select.n."
        )
    for index, score in selector.order(rows, n, seed):
        yield {**rows[index], "priority": score}


def _check_n(n: int) -> None:
    if n < 1:
        raise UsageError(f"select.n: {n} rows were asked for, must be 1 or more.")
