"""Shared runs of characters with a reference, for any script."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.errors import UsageError
from ilf.graders._reference import against
from ilf.metrics import _texts
from ilf.protocols import Grade, Row


@dataclass(frozen=True)
class Chrf:
    """Character n-gram F-score in [0, 1] against a reference text (Popovic 2015), for any script."""

    reference: str = "reference"
    """Column of the reference text."""
    order: int = 6
    """Longest n-gram, in characters."""
    beta: float = 2.0
    """How many times recall weighs as much as precision."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses n-grams shorter than one character and a weight that is not above 0."""
        if self.order < 1 or not self.beta > 0:
            raise UsageError(f"chrf: order={self.order} must be 1 or more, beta={self.beta} above 0.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides the text."""
        return (self.reference,)

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; None with a reason where the reference is missing or empty."""
        measure = functools.partial(_texts.chrf, order=self.order, beta=self.beta)
        return against(rows, self.reference, measure, "chrf")
