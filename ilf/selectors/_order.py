"""What selectors share: the most wanted rows first, equals by lot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ilf.protocols import Row
from ilf.records import seed_of

#: Scores are compared after rounding, so that batches of another size order alike (as rankers do).
DECIMALS = 6


def lots(rows: Iterable[Row], seed: int) -> list[int]:
    """A number per row, drawn from the seed and the row's id alone."""
    return [seed_of(seed, "select", row["id"]) for row in rows]


def by_score(
    rows: Iterable[Row], scores: Sequence[float | None], n: int, seed: int
) -> list[tuple[int, float | None]]:
    """Index and score of the ``n`` rows with the highest scores; equals by lot, unknown ones (NaN) last."""
    known = [None if score is None or math.isnan(score) else round(score, DECIMALS) + 0.0 for score in scores]
    keys = [(score is None, -(score or 0.0), lot) for score, lot in zip(known, lots(rows, seed), strict=True)]
    return [(i, known[i]) for i in sorted(range(len(keys)), key=keys.__getitem__)[:n]]
