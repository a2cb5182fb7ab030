"""The one ranker that may read a grader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ilf.protocols import Grader


@dataclass(frozen=True)
class Oracle:
    """Scores a candidate by its true grade: the ceiling for every ranker, and no ranker one could have."""

    grader: Grader

    needs_critique: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def score(
        self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The grade of every candidate; one that cannot be graded gets NaN and is never picked."""
        pairs = zip(queries, candidates, strict=True)
        rows = [{**query, "output": text} for query, texts in pairs for text in texts]
        grades = iter(self.grader.grade(rows))
        return [[_number(next(grades)["grade"]) for _ in texts] for texts in candidates]


def _number(grade: Any) -> float:
    return float("nan") if grade is None else float(grade)
