"""Corrections, equivalence, and groups of arms against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilf import stats
from ilf.stats.families import MOST_GROUPS


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], alpha: float) -> None:
    """Smallest p first, each against alpha over the number of hypotheses left; stop at the first failure."""
    rejected = set()
    for left, index in zip(
        range(len(p_values), 0, -1), sorted(range(len(p_values)), key=p_values.__getitem__), strict=True
    ):
        if left * p_values[index] > alpha:
            break
        rejected.add(index)
    adjusted = stats.holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p is not None and p <= alpha} == rejected


def test_holm_counts_the_comparisons_that_could_not_be_made() -> None:
    assert stats.holm([0.04, None, 0.01]) == [0.08, None, 0.03]
    assert stats.holm([]) == []


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(-0.04, 0.03, True), (-0.05, 0.03, False), (-0.04, 0.06, False), (0.01, 0.04, True), (0.2, 0.3, False)],
)
def test_equivalence_is_shown_only_by_an_interval_inside_the_margin(
    low: float, high: float, *, shown: bool
) -> None:
    assert stats.equivalent(stats.Interval((low + high) / 2, low, high), 0.05) is shown


def test_equivalence_needs_an_interval_and_a_margin() -> None:
    assert stats.equivalent(stats.Interval(0.0, reason="one prompt"), 0.05) is None
    with pytest.raises(ValueError, match="margin 0"):
        stats.equivalent(stats.Interval(0.0, -0.1, 0.1), 0)


def test_equivalence_is_the_two_one_sided_tests() -> None:
    cells = np.random.default_rng(0).normal(0.01, 0.1, (60, 1))
    found = stats.paired_interval(cells)
    for margin in (0.02, 0.03, 0.04, 0.05):
        up, down = stats.paired_interval(cells - margin), stats.paired_interval(cells + margin)
        assert up.p is not None
        assert down.p is not None
        rejected = up.p / 2 < 0.025 and down.p / 2 < 0.025
        assert stats.equivalent(found, margin) is bool(
            rejected and (up.estimate or 0) < 0 < (down.estimate or 0)
        )


def maximal_sets(apart: np.ndarray) -> set[frozenset[int]]:
    """All subsets tried."""
    arms = range(len(apart))
    free = [
        frozenset(some)
        for size in range(1, len(apart) + 1)
        for some in itertools.combinations(arms, size)
        if not any(apart[a, b] for a, b in itertools.combinations(some, 2))
    ]
    return {some for some in free if not any(some < other for other in free)}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_groups_are_all_maximal_sets_of_arms_not_told_apart(arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.choice([0.001, 0.049, 0.05, 0.7, np.nan], size=(arms, arms))
    p = np.triu(p, 1) + np.triu(p, 1).T
    np.fill_diagonal(p, np.nan)
    grades = rng.normal(size=arms).tolist()
    found = stats.tied_groups(p, grades)
    assert {frozenset(group) for group in found} == maximal_sets(p < 0.05)
    assert len(found) == len({frozenset(group) for group in found})
    for group in found:
        assert [grades[a] for a in group] == sorted((grades[a] for a in group), reverse=True)
    firsts = [grades[group[0]] for group in found]
    assert firsts == sorted(firsts, reverse=True)


def test_a_p_given_on_one_side_of_the_diagonal_counts() -> None:
    p = np.full((2, 2), np.nan)
    p[1, 0] = 0.01
    assert stats.tied_groups(p, [0.1, 0.2]) == [[1], [0]]


def test_a_chain_of_ties_is_two_groups_and_shares_a_letter() -> None:
    """Best and worst differ, the middle is told apart from neither."""
    p = stats.p_matrix(3, [(0, 1), (0, 2), (1, 2)], [0.01, 0.3, 0.2])
    groups = stats.tied_groups(p, [0.9, 0.1, 0.5])
    assert groups == [[0, 2], [2, 1]]
    assert stats.letters(groups, 3) == ["a", "b", "ab"]


def test_letters_go_on_after_z() -> None:
    marks = stats.letters([[k] for k in range(28)] + [[0, 27]], 28)
    assert (marks[0], marks[25], marks[26], marks[27]) == ("a ac", "z", "aa", "ab ac")


def test_two_hundred_arms_of_planned_pairs_are_grouped_at_once() -> None:
    pairs = [(0, k) for k in range(1, 200)]
    p = stats.p_matrix(200, pairs, [0.01 if k % 2 else None for k in range(199)])
    groups = stats.tied_groups(p, list(range(200)))
    assert sorted(map(len, groups)) == [101, 199]


def test_more_groups_than_anyone_reads_are_refused() -> None:
    """12 threes of which one of each can stand together: 3^12 groups."""
    p = np.where(np.equal.outer(np.arange(36) // 3, np.arange(36) // 3), 0.0, 1.0)
    with pytest.raises(ValueError, match=f"more than {MOST_GROUPS} groups"):
        stats.tied_groups(p, [0.0] * 36)
    with pytest.raises(ValueError, match="for 3 arms"):
        stats.tied_groups(p, [0.0] * 3)


def test_pairwise_p_are_the_intervals_corrected_together() -> None:
    grades = np.random.default_rng(4).normal(size=(4, 12, 3)) + np.arange(4)[:, None, None]
    pooled = stats.pooled_arm_by_seed(grades[1:])
    found = stats.pairwise_p(grades, [False, True, True, True], pooled)
    pairs = list(itertools.combinations(range(4), 2))
    alone = [stats.paired_interval(grades[a] - grades[b], pooled if a else None).p for a, b in pairs]
    expected = stats.p_matrix(4, pairs, stats.holm(alone))
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found.diagonal()).all()
    assert (found[0] != stats.pairwise_p(grades, None, pooled)[0])[1:].any()
