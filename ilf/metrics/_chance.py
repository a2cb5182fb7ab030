"""When a benchmark score says nothing: it cannot be told from guessing with these items."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ilf import stats


def not_measurable(
    scores: Sequence[float | None], chance: Sequence[float | None] | float, *, level: float = 0.95
) -> str | None:
    """Why a score is "not measurable", or None where it is told from chance: one score and chance an item.

    A score counts only where its mean lies further from chance than the smallest effect that this number of
    items could have seen with 80 % power ((t_.975 + t_.80) SE of score - chance); a tiny model's seldom does.
    """
    if isinstance(chance, (int, float)):
        chance = [chance] * len(scores)
    pairs = [
        (float(s), float(c)) for s, c in zip(scores, chance, strict=True) if s is not None and c is not None
    ]
    n = len(pairs)
    if n < 2:
        return f"not measurable: {n} item(s) have a score, 2 or more are needed"
    differences = [s - c for s, c in pairs]
    mean = math.fsum(differences) / n
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    guessing = math.fsum(c for _, c in pairs) / n
    if variance == 0:
        # All alike: the items say nothing of their own spread, so that of guessing right or wrong is taken.
        variance = math.fsum(c * (1 - c) for _, c in pairs) / n
    smallest = stats.minimum_detectable_effect(math.sqrt(variance / n), n - 1, alpha=1 - level)
    if abs(mean) >= smallest:
        return None
    return (
        f"not measurable: {guessing + mean:.3f} over {n} items is within the smallest detectable effect "
        f"({smallest:.3f}) of chance ({guessing:.3f})"
    )
