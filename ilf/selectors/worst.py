"""The one selector that may read a grader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.protocols import Grader, Row
from ilf.selectors._order import by_score


@dataclass(frozen=True)
class Worst:
    """The outputs with the lowest true grade: for closed worlds, and no selector one could have.

    As ``oracle`` among rankers it says what knowing the truth would be worth. A ceiling it is only where the
    worst outputs are also those that one learns most from.
    """

    grader: Grader

    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The output and what the grader reads."""
        return ("output", *getattr(self.grader, "needs", ()))

    def order(self, rows: Sequence[Row], n: int, seed: int) -> list[tuple[int, float | None]]:
        """``n`` rows with one minus their grade, in [0, 1]; what cannot be graded is last."""
        grades = [verdict["grade"] for verdict in self.grader.grade(rows)]
        return by_score(rows, [1.0 - g if isinstance(g, (int, float)) else None for g in grades], n, seed)
