"""The bar that every selector has to clear first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.protocols import Row
from ilf.selectors._order import by_score


@dataclass(frozen=True)
class Chance:
    """By lot, from the seed and the row's id: the control of them all."""

    needs: ClassVar[tuple[str, ...]] = ()
    revision: ClassVar[int] = 1

    def order(self, rows: Sequence[Row], n: int, seed: int) -> list[tuple[int, float | None]]:
        """``n`` rows without a score; no text is read."""
        return by_score(rows, [None] * len(rows), n, seed)
