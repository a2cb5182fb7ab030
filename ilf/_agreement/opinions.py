"""Several people's answers to one question: how far apart they lie, and what they come to together.

Used by ``settle`` and by ``ilf agreement``. Answers are mappings with the columns of their job:
``ranking`` (rank, pairwise, verdict), ``ratings`` (rate), ``faults`` and ``is_faultless`` (critique),
``decision`` (refine).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations
from statistics import median
from typing import Any

from ilf.records import digest

#: Jobs whose answer is an order of the outputs.
RANKED = ("rank", "pairwise", "verdict")
#: The widest distance between two ratings of one axis: 1 to 5.
RATING_RANGE = 4
Ranking = Sequence[Sequence[int]]


def places(ranking: Ranking) -> list[int]:
    """Output -> number of its group, 0 the best; tied outputs have the same."""
    found = {output: place for place, group in enumerate(ranking) for output in group}
    return [found[output] for output in sorted(found)]


def pair_orders(ranking: Ranking) -> list[int]:
    """For every pair of outputs i < j: 1 if i is better, -1 if j is, 0 for a tie."""
    return [(b > a) - (b < a) for a, b in combinations(places(ranking), 2)]


def share_alike(first: Ranking, second: Ranking) -> float:
    """Share of the pairs of outputs that two rankings order alike; a tie is alike to a tie only."""
    mine, theirs = pair_orders(first), pair_orders(second)
    if len(mine) != len(theirs) or not mine:
        raise ValueError(f"rankings of {first} and {second} are not of the same two outputs or more")
    return sum(a == b for a, b in zip(mine, theirs, strict=True)) / len(mine)


def masi(first: AbstractSet[Hashable], second: AbstractSet[Hashable]) -> float:
    """MASI distance of two sets (Passonneau 2006): 1 - Jaccard x M, where M tells how they overlap.

    M is 1 for equal sets, 2/3 where one holds the other, 1/3 where each has something of its own, 0 where
    they share nothing. Two empty sets are equal. Unlike Jaccard alone it forgives a kind that one person
    left out more than two different ones.
    """
    if first == second:
        return 0.0
    shared = len(first & second)
    overlap = 0.0 if not shared else 2 / 3 if first <= second or second <= first else 1 / 3
    return 1.0 - overlap * shared / len(first | second)


def distance(job: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> float | None:
    """How far apart two answers are, 0 (the same) to 1; None for texts, which are not compared.

    Orders: share of the pairs of outputs not ordered alike. Ratings: the widest gap on one axis, of 4 points.
    Critiques: MASI of the kinds of fault, and 1 where only one found nothing to criticise. Rewrites: 1 where
    the decisions differ.
    """
    if job in RANKED:
        return 1.0 - share_alike(first["ranking"], second["ranking"])
    if job == "rate":
        mine, theirs = first["ratings"], second["ratings"]
        gaps = [abs(mine[axis] - theirs[axis]) for axis in mine if axis in theirs]
        return max(gaps) / RATING_RANGE if gaps else None
    if job == "refine":
        return float(first["decision"] != second["decision"])
    if job == "critique" and "is_faultless" in first and "is_faultless" in second:
        if first["is_faultless"] != second["is_faultless"]:
            return 1.0
        return masi(frozenset(first.get("faults") or ()), frozenset(second.get("faults") or ()))
    return None


def disagreement(job: str, answers: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean distance over all pairs of answers; None below two, or where the job's answers are texts."""
    found = [distance(job, a, b) for a, b in combinations(answers, 2)]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def most_common(votes: Iterable[Hashable]) -> Any | None:
    """What more people said than anything else; None where two things were said equally often."""
    ranked = Counter(votes).most_common(2)
    return None if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]) else ranked[0][0]


def common_ranking(rankings: Sequence[Ranking]) -> list[list[int]]:
    """One ranking for several: two outputs by the most common verdict (split: a tie), more by Borda's count.

    Borda: outputs in the order of their mean place, where tied outputs share the mean of the places that they
    take up; equal means are a tie. Not Kemeny's ranking: that has many solutions where two people differ.
    """
    n = sum(map(len, rankings[0]))
    if n == 2:
        verdict = most_common(pair_orders(ranking)[0] for ranking in rankings)
        return {1: [[0], [1]], -1: [[1], [0]]}.get(verdict or 0, [[0, 1]])
    totals = [0] * n
    for ranking in rankings:
        before = 0
        for group in ranking:
            for output in group:
                totals[output] += 2 * before + len(group)  # twice the mean place: whole numbers, exact ties
            before += len(group)
    return [[i for i in range(n) if totals[i] == total] for total in sorted(set(totals))]


def common_ratings(ratings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of every axis; half a point where an even number of people stands on both sides."""
    axes = dict.fromkeys(axis for given in ratings for axis in given)
    return {axis: median([given[axis] for given in ratings if axis in given]) for axis in axes}


def common_faults(faults: Sequence[Sequence[str]]) -> list[str]:
    """The kinds of fault that more than half of the people named, in the order in which they first appear."""
    named = Counter(kind for kinds in faults for kind in dict.fromkeys(kinds))
    return [kind for kind, votes in named.items() if 2 * votes > len(faults)]


def question(row: Mapping[str, Any], job: str) -> str:
    """What a row answers: its sample, and for rewrites the one that was shown."""
    sample = str(row["sample_id"])
    # An accepted or edited rewrite is appended, a new critique replaces: only the first rewrite stays.
    return f"{sample}-{digest(row['refinements'][:1], 8)}" if job == "refine" else sample


# --- earlier answers in words


def earlier(given: Sequence[Mapping[str, Any]], job: str) -> str:
    """The answers so far for a person to read: nobody is named, outputs by how they begin."""
    lines = [f"{number}. {_in_words(row, job)}" for number, row in enumerate(given, 1)]
    return "\n".join(["Earlier answers:", *lines])


def _in_words(row: Mapping[str, Any], job: str) -> str:
    if job == "critique":
        faults = ", ".join(row.get("faults") or ())
        return str(row["critique"]) + (f" [{faults}]" if faults else "")
    if job == "rate":
        return ", ".join(f"{axis} {points}" for axis, points in row["ratings"].items())
    if job == "refine":
        return str(row["decision"]) + (f": {row['preferred']}" if row["decision"] == "edit" else "")
    groups = [" = ".join(_beginning(row["outputs"][i]) for i in group) for group in row["ranking"]]
    why = f" Why: {row['why']}" if row.get("why") else ""
    return " > ".join(groups) + why


def _beginning(text: str, most: int = 60) -> str:
    words = " ".join(text.split())
    return f'"{words if len(words) <= most else words[:most].rstrip() + "..."}"'
