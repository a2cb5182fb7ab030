"""Where the model does not say the same thing twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ilf.errors import DataError
from ilf.protocols import Row
from ilf.selectors._order import by_score
from rankers.overlap import rouge_l, token_f1


@dataclass(frozen=True)
class Disagreement:
    """Lowest mean overlap between any two of a row's texts: several outputs, or rewrites made untold.

    Query by committee (Seung et al. 1992; for sequences Settles and Craven 2008, D08-1112, section 3.2), with
    samples of one model for the committee and overlap of words for its vote, which needs no common tokens.
    For ``refinements`` let ``refine`` write some without feedback first (``feedback: none``): they take
    nobody's time.
    """

    text: Literal["outputs", "refinements"] = "outputs"
    """Column of the texts; a row needs at least two."""
    measure: Literal["token_f1", "rouge_l"] = "token_f1"
    """F1 of the bags of tokens, or of their longest common subsequence (Lin 2004)."""

    revision: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The column of the texts."""
        return (self.text,)

    def order(self, rows: Sequence[Row], n: int, seed: int) -> list[tuple[int, float | None]]:
        """``n`` rows with one minus the mean overlap of their pairs of texts, in [0, 1]."""
        return by_score(rows, [self._apart(row) for row in rows], n, seed)

    def _apart(self, row: Row) -> float:
        texts = row[self.text]
        if len(texts) < 2:
            verb = "sample" if self.text == "outputs" else "refine"
            raise DataError(
                f"disagreement: row {row['id']} has {len(texts)} of '{self.text}', and one alone agrees with "
                f"itself. Ask for more of them ({verb}.n: 4)."
            )
        overlap = {"token_f1": token_f1, "rouge_l": rouge_l}[self.measure]
        pairs = list(itertools.combinations(texts, 2))
        return 1.0 - sum(overlap(a, b) for a, b in pairs) / len(pairs)
