"""Who beats whom: every pair of arms, corrected for their number, and groups that cannot be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ilf._findings.contrasts import Contrasts
from ilf.stats import Cells, holm, letters, p_matrix, paired_interval, tied_groups

#: Arms of which every pair is compared, the highest first; more would be no table that one can read.
MOST_ARMS = 40


def beaten(contrasts: Contrasts, arms: Sequence[str]) -> dict[str, Any]:
    """Differences of all pairs of the ``MOST_ARMS`` highest arms, Holm's p over the pairs, and the groups.

    ``{"arms", "differences", "p_holm", "groups", "letters", "left_out"}``: arms best first; matrices are row
    minus column, None on the diagonal; a group is a list of arms of which no two are told apart. Without a
    graded prompt all are empty.
    """
    grades = contrasts.slate.grades()
    arms = arms if contrasts.slate.prompts else ()
    means = {arm: float(grades[arm].mean()) for arm in arms}
    ordered = sorted(arms, key=lambda arm: -means[arm])
    kept = ordered[:MOST_ARMS]
    pairs = list(itertools.combinations(range(len(kept)), 2))
    p_values = [_p(contrasts, kept[a], kept[b]) for a, b in pairs]
    corrected = p_matrix(len(kept), pairs, holm(p_values))
    groups = _groups(corrected, [means[arm] for arm in kept])
    return {
        "arms": kept,
        "differences": [
            [None if a == b else means[kept[a]] - means[kept[b]] for b in range(len(kept))]
            for a in range(len(kept))
        ],
        "p_holm": [[None if p != p else float(p) for p in row] for row in corrected],
        "groups": [[kept[i] for i in group] for group in groups],
        "letters": dict(zip(kept, letters(groups, len(kept)), strict=True)),
        "left_out": len(ordered) - len(kept),
    }


def _groups(corrected: Cells, means: Sequence[float]) -> list[list[int]]:
    try:
        return tied_groups(corrected, means)
    except ValueError:  # so many groups that they say nothing
        return []


def _p(contrasts: Contrasts, arm: str, other: str) -> float | None:
    grades = contrasts.slate.grades()
    pooled = contrasts.pooled(arm, other)
    return paired_interval(grades[arm] - grades[other], pooled, within=contrasts.slate.within).p
