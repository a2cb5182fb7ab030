"""Overlap of words and word order with a reference."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ilf.graders._reference import against
from ilf.metrics import _texts
from ilf.protocols import Grade, Row


@dataclass(frozen=True)
class Rouge:
    """ROUGE-1, -2 and -L F-measures against a reference text (Lin 2004; package rouge-score).

    ``grade`` is the one that ``measure`` names. It rewards the reference's words, not truth: a summary that
    swaps two names scores nearly as high, a good one in other words low. It reads a-z and digits only.
    """

    reference: str = "reference"
    """Column of the reference text."""
    measure: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stem: bool = False
    """Porter's stemmer, as many published figures use it."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Raises ComponentError where rouge-score is missing, before any work."""
        _texts.require("rouge_score", "grader rouge")

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read besides the text."""
        return (self.reference,)

    def grade(self, rows: Sequence[Row]) -> list[Grade]:
        """One verdict per row; None with a reason where the reference is missing, empty or without words."""
        return against(rows, self.reference, functools.partial(_texts.rouge, stem=self.stem), self.measure)
