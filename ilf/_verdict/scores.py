"""Verdicts as scores in [0, 1], one per prompt, and the interval of their mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import mean

from ilf._verdict.pairs import Pairs
from ilf.protocols import Row
from ilf.stats import Interval, minimum_detectable_effect, t_quantile

#: Prompts below which a share is "too few" instead of a figure; from here on the interval covers what it
#: says (simulated in ``tests/test_verdict.py``).
MIN_PROMPTS = 10


def score(ranking: Sequence[Sequence[int]]) -> float:
    """1 where A (index 0) won, 0 where B did, 0.5 for a tie."""
    return 0.5 if len(ranking) == 1 else float(ranking[0] == [0])


def by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Rows by what a column holds, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def pair_scores(verdicts: Iterable[Row]) -> dict[str, float]:
    """Pair id -> its score: the mean over those who judged it."""
    return {
        pair: mean(score(row["ranking"]) for row in rows) for pair, rows in by(verdicts, "sample_id").items()
    }


def prompt_scores(verdicts: Iterable[Row]) -> dict[str, float]:
    """Prompt id -> its score: the mean over its pairs that were judged."""
    return {key: mean(pair_scores(rows).values()) for key, rows in by(verdicts, "prompt_id").items()}


def with_ties(found: Pairs, verdicts: Iterable[Row]) -> dict[str, float]:
    """As ``prompt_scores``, with the pairs of one text counted as ties."""
    scores = {key: list(pair_scores(rows).values()) for key, rows in by(verdicts, "prompt_id").items()}
    for row in found.identical:
        scores.setdefault(row["prompt_id"], []).append(0.5)
    return {key: mean(values) for key, values in scores.items()}


def share(scores: Sequence[float], what: str = "prompts", *, level: float = 0.95) -> Interval:
    """Mean of scores in [0, 1], one per prompt, with Wilson's interval at the effective number of prompts.

    The effective number is that of coin flips with the variance seen (Korn and Graubard 1998), and Student's
    t stands for the normal; where all scores are equal it is their number. ``mde`` is the smallest distance
    from one half that this many would have shown with 80 % power. Below MIN_PROMPTS all of it is None.
    """
    n = len(scores)
    if n < MIN_PROMPTS:
        return Interval(None, prompts=n, reason=f"too few: {n} {what}, {MIN_PROMPTS} are needed")
    p = mean(scores)
    variance = sum((x - p) ** 2 for x in scores) / (n - 1)
    effective = p * (1 - p) * n / variance if variance > 1e-12 else float(n)
    t = t_quantile((1 + level) / 2, n - 1)
    weight = t * t / effective
    centre = (p + weight / 2) / (1 + weight)
    reach = t * math.sqrt((p * (1 - p) + weight / 4) / effective) / (1 + weight)
    # Nothing varied: what could have been seen is told from coin flips, not from a spread of 0.
    error = math.sqrt((variance if variance > 1e-12 else 0.25) / n)
    return Interval(
        estimate=p,
        low=max(0.0, centre - reach),
        high=min(1.0, centre + reach),
        mde=minimum_detectable_effect(error, n - 1),
        standard_error=error,
        df=n - 1,
        prompts=n,
    )
