"""buy: the answers that a number of people's seconds pays for, in the order of the pool."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ilf.errors import DataError, UsageError
from ilf.protocols import Row
from ilf.records import as_sequence, check

#: What is bought depends on all rows before it, so an unfinished step starts again.
WINDOW = None
#: A budget of a hundred answers at 182.5 s buys a hundred, however the sum was rounded.
_ROUNDING = 1e-9


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that are read, and those that are added (none); UsageError for a budget that is none."""
    _check_budget(arguments["seconds"])
    return ("annotation_id", "seconds"), ()


def buy(rows: Iterable[Row], *, seconds: float, done: int = 0) -> Iterator[Row]:
    """Yields the first rows of the pool, unchanged, whose annotations cost at most ``seconds`` together.

    An annotation that stands in several rows is paid once; the first one that is too dear ends the shopping,
    so a smaller budget always buys the beginning of what a larger one does. DataError where an annotation's
    seconds are unknown, or where the pool holds less than the budget asks for.
    """
    _check_budget(seconds)
    rows = as_sequence(rows)
    check(rows, ("annotation_id",), "buy")
    unpriced = sum(row.get("seconds") is None for row in rows)
    if unpriced:
        raise DataError(
            f"buy: {unpriced} of {len(rows)} answers do not say how many seconds they took, so nobody can "
            "say what a budget pays for. Give them, or give the source's setting 'seconds'."
        )
    paid: set[str] = set()
    spent = 0.0
    for row in rows:
        if row["annotation_id"] not in paid:
            if spent + row["seconds"] > seconds * (1 + _ROUNDING):
                return
            paid.add(row["annotation_id"])
            spent += row["seconds"]
        yield row
    _check_pool(spent, len(paid), seconds)


def _check_budget(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"buy.seconds: {seconds} is no budget; it must be above 0.")


def _check_pool(spent: float, answers: int, seconds: float) -> None:
    """A pool that ends while one more answer of the usual price could be paid is too small."""
    if not answers or seconds - spent >= spent / answers:
        raise DataError(
            f"buy: the pool holds {answers} answers of {spent:,.0f} s together; the budget is "
            f"{seconds:,.0f} s. Collect more (load.n says how many rows), or lower the budget."
        )
