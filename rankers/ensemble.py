"""Several rankers as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import ClassVar, Literal

from rankers._api import DECIMALS, Query, Ranker, RankerError


@dataclass(frozen=True)
class Ensemble:
    """Mean over rankers of a candidate's rank (or z-score) among its query's candidates.

    Members differ in units, so scores are never added as they are. A candidate that one member cannot score
    has no score. No gain over the best member was found by Scheurer et al. 2023 (their ensemble averages
    probabilities).
    """

    members: tuple[Ranker, ...]
    combine: Literal["rank", "z"] = "rank"
    """``rank``: 1 is worst, ties share their mean rank; ``z``: 0 for all where a member's scores are all
    equal."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.members:
            raise RankerError(
                "ensemble: needs at least one member, for example members=(Length(), Similarity())."
            )

    @property
    def needs_critique(self) -> bool:
        """Whether a member reads critiques."""
        return any(getattr(member, "needs_critique", False) for member in self.members)

    def score(self, queries: Sequence[Query], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Mean rank in [1, N], or mean z; NaN where a member has no score."""
        scale = _mid_ranks if self.combine == "rank" else _z_scores
        each = [member.score(queries, candidates) for member in self.members]
        return [
            [fmean(values) for values in zip(*(_scaled(scores, scale) for scores in of_query), strict=True)]
            for of_query in zip(*each, strict=True)
        ]


def _scaled(scores: Sequence[float], scale: Callable[[Sequence[float]], list[float]]) -> list[float]:
    """Scaled after rounding, so that float noise makes no rank; unknown scores stay unknown."""
    rounded = [round(score, DECIMALS) if not math.isnan(score) else math.nan for score in scores]
    known = iter(scale([s for s in rounded if not math.isnan(s)]))
    return [math.nan if math.isnan(score) else next(known) for score in rounded]


def _mid_ranks(scores: Sequence[float]) -> list[float]:
    """1 for the lowest; ties share the mean of their places."""
    return [
        sum(other < score for other in scores) + (1 + sum(o == score for o in scores)) / 2 for score in scores
    ]


def _z_scores(scores: Sequence[float]) -> list[float]:
    """(score - mean) / standard deviation of the population; 0 for all where they are equal."""
    if not scores or min(scores) == max(scores):
        return [0.0] * len(scores)
    mean, deviation = fmean(scores), pstdev(scores)
    return [(score - mean) / deviation for score in scores]
