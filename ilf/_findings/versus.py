"""Arms against arms: every row's grade minus every column's, planned, with a family of Holm's of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from ilf._findings.contrasts import Contrasts, adjust

if TYPE_CHECKING:
    from ilf._compare.terms import Comparison


def versus_table(comparison: Comparison, contrasts: Contrasts) -> list[dict[str, Any]]:
    """One entry per pair and budget: the row's grade minus the column's, with interval and Holm's p.

    Entries go row by row, as in ``Contrasts.grade``, with ``row``, ``column`` and ``budget``. Empty where
    the comparison has no such table.
    """
    if comparison.versus is None:
        return []
    table = []
    pairs = itertools.product(
        comparison.budgets or (None,), comparison.versus.rows, comparison.versus.columns
    )
    for budget, row, column in pairs:
        arms = (comparison.at(name, budget) for name in (row, column))
        found = contrasts.grade(*arms, bootstrap=False)
        table.append({"row": row, "column": column, "budget": budget, **found})
    adjust(table)
    return table
