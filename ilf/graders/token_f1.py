"""Shared words with a reference, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.graders._reference import against
from ilf.metrics import _texts
from ilf.protocols import Grade, Row


@dataclass(frozen=True)
class TokenF1:
    """F1 of the bags of lower-cased tokens against a reference text; any script, order ignored."""

    reference: str = "reference"
    """Column of the reference text."""

    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides the text."""
        return (self.reference,)

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; None with a reason where the reference is missing, empty, or without words."""
        return against(rows, self.reference, _texts.token_f1, "token_f1")
