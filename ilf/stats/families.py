"""Families of comparisons: correction for their number, "the same" shown, and arms not told apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ilf.stats.components import Cells, MeanSquare
from ilf.stats.intervals import Interval, paired_interval

#: More groups of tied arms than this are no help to a reader, and finding them can take exponential time.
MOST_GROUPS = 2000


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down p values in the order given; an unknown p stays None but counts as a comparison."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[index] = largest
    return adjusted


def equivalent(interval: Interval, margin: float) -> bool | None:
    """Whether a difference is shown to be smaller than ``margin`` either way: the interval lies inside.

    The two one-sided tests (Schuirmann 1987) at 2.5 % each with a 95 % interval. None where there is no
    interval; False means not shown, never "different".
    """
    if not margin > 0:
        raise ValueError(f"margin {margin}: name the difference that would not matter, above 0")
    if interval.low is None or interval.high is None:
        return None
    return -margin < interval.low and interval.high < margin


def pairwise_p(
    grades: ArrayLike,
    trained: Sequence[bool] | None = None,
    pooled: MeanSquare | None = None,
    within: tuple[float, float] | None = None,
) -> Cells:
    """(arms, arms) of Holm's p over all pairs of arms of ``grades`` (arms, prompts, seeds).

    ``pooled`` is used where both arms are ``trained`` (None: all are). NaN on the diagonal and where there is
    no p. Costs about 0.2 ms a pair.
    """
    table = np.asarray(grades, dtype=np.float64)
    arms = len(table)
    is_trained = [True] * arms if trained is None else list(trained)
    pairs = list(itertools.combinations(range(arms), 2))
    found = [
        paired_interval(
            table[a] - table[b], pooled if is_trained[a] and is_trained[b] else None, within=within
        ).p
        for a, b in pairs
    ]
    return p_matrix(arms, pairs, holm(found))


def p_matrix(arms: int, pairs: Sequence[tuple[int, int]], corrected: Sequence[float | None]) -> Cells:
    """(arms, arms) of corrected p values of the pairs compared; NaN elsewhere."""
    matrix = np.full((arms, arms), np.nan)
    for (a, b), p in zip(pairs, corrected, strict=True):
        if p is not None:
            matrix[a, b] = matrix[b, a] = p
    return matrix


def tied_groups(p_values: ArrayLike, grades: Sequence[float], alpha: float = 0.05) -> list[list[int]]:
    """Every maximal set of arms of which no two are told apart, in order of grade, best first.

    ``p_values`` (arms, arms) are corrected; NaN (not compared, or no p) tells nothing apart. An arm may stand
    in several groups (Piepho 2004, the compact letter display): sharing one is not being equal. ValueError
    above ``MOST_GROUPS`` groups.
    """
    matrix = np.asarray(p_values, dtype=np.float64)
    arms = len(grades)
    if matrix.shape != (arms, arms):
        raise ValueError(f"p values of shape {matrix.shape} for {arms} arms")
    place = sorted(range(arms), key=lambda arm: (-grades[arm], arm))
    ordered = matrix[np.ix_(place, place)]
    apart = np.fmin(ordered, ordered.T) < alpha
    neighbours = [sum(1 << int(k) for k in np.flatnonzero(~row) if k != i) for i, row in enumerate(apart)]
    groups = sorted(_members(group) for group in _cliques(neighbours))
    return [[place[k] for k in group] for group in groups]


def letters(groups: Sequence[Sequence[int]], arms: int) -> list[str]:
    """The compact letter display: arms that share a letter are not told apart (a ... z, then aa, ab ...)."""
    marks = [""] * arms
    for number, group in enumerate(groups):
        name, rest = "", number
        while rest >= 0:
            name, rest = chr(ord("a") + rest % 26) + name, rest // 26 - 1
        for arm in group:
            marks[arm] += f" {name}" if len(groups) > 26 and marks[arm] else name
    return marks


def _members(bits: int) -> list[int]:
    return [i for i in range(bits.bit_length()) if bits >> i & 1]


def _cliques(neighbours: Sequence[int]) -> list[int]:
    """Maximal cliques as bit sets, by Bron and Kerbosch's algorithm with a pivot."""
    found: list[int] = []
    stack = [(0, (1 << len(neighbours)) - 1, 0)] if neighbours else []
    while stack:
        clique, candidates, excluded = stack.pop()
        if not candidates and not excluded:
            found.append(clique)
            if len(found) > MOST_GROUPS:
                raise ValueError(
                    f"more than {MOST_GROUPS} groups of tied arms: compare fewer arms, or show the p values"
                )
            continue
        pivot = max(_members(candidates | excluded), key=lambda v: (candidates & neighbours[v]).bit_count())
        for vertex in _members(candidates & ~neighbours[pivot]):
            bit = 1 << vertex
            stack.append((clique | bit, candidates & neighbours[vertex], excluded & neighbours[vertex]))
            candidates &= ~bit
            excluded |= bit
    return found
