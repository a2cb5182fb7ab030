"""Equality with a reference."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.graders._reference import against
from ilf.metrics import _texts
from ilf.protocols import Grade, Row


@dataclass(frozen=True)
class ExactMatch:
    """1.0 where the output equals its reference, else 0.0; white space at both ends never counts."""

    reference: str = "reference"
    """Column of the reference text."""
    ignore_case: bool = False
    ignore_spaces: bool = True
    """Takes every run of white space for one space."""

    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides the text."""
        return (self.reference,)

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; None with a reason where the reference is missing or empty."""
        measure = functools.partial(
            _texts.exact_match, ignore_case=self.ignore_case, ignore_spaces=self.ignore_spaces
        )
        return against(rows, self.reference, measure, "exact_match")
