"""rank() and best(): ties by seed and reported, unknown scores never win."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from rankers import Length, Pick, RankerError, best, missing_model, rank


def test_best_is_the_highest():
    assert best([0.1, 0.9, -3.0]) == Pick(1, False)
    candidate, is_tied = best([0.1, 0.9])
    assert (candidate, is_tied) == (1, False)


def test_ties_are_reported_and_broken_by_the_seed_not_by_place():
    picks = [best([1.0, 0.0, 1.0, 1.0], seed) for seed in range(3000)]
    assert all(pick.is_tied for pick in picks)
    counts = Counter(pick.candidate for pick in picks)
    assert set(counts) == {0, 2, 3}
    # 1000 each, standard deviation 26.
    assert all(abs(count - 1000) < 4 * 26 for count in counts.values())
    assert best([1.0, 0.0, 1.0, 1.0], "row-7") == best([1.0, 0.0, 1.0, 1.0], "row-7")


def test_differences_below_six_decimals_are_ties():
    assert best([0.5, 0.5 + 2e-7]).is_tied
    assert not best([0.5, 0.5 + 2e-6]).is_tied
    assert best([0.0, -0.0]).is_tied


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_unknown_scores_never_win(unknown):
    assert best([unknown, -50.0, unknown]) == Pick(1, False)
    with pytest.raises(RankerError, match="none of the 2 candidates"):
        best([unknown, unknown])


def test_an_impossible_text_is_not_an_unknown_one():
    assert best([-math.inf, math.nan]) == Pick(0, False)


def test_no_candidates():
    with pytest.raises(RankerError, match="no candidate"):
        best([])
    with pytest.raises(RankerError, match="'row-7'"):
        rank(Length(), {"id": "row-7"}, [])


class _Fixed:
    def __init__(self, scores):
        self.scores = scores

    def score(self, queries, candidates):
        return [self.scores for _ in queries]


def test_rank_puts_the_best_first_and_the_unknown_last():
    assert rank(Length(), {}, ["a b", "a", "a b c"]) == [2, 0, 1]
    assert rank(_Fixed([math.nan, 1.0, 3.0, math.nan, 2.0]), {"id": "q"}, list("abcde")) == [2, 4, 1, 0, 3]
    with pytest.raises(RankerError, match="'q'.*none of the 1"):
        rank(_Fixed([math.nan]), {"id": "q"}, ["a"])


def test_rank_and_best_agree_on_ties():
    scores = [2.0, 1.0, 2.0, 2.0]
    for seed in range(20):
        assert rank(_Fixed(scores), {}, list("abcd"), seed)[0] == best(scores, seed).candidate


def test_missing_model_is_seen_without_loading():
    from rankers import Chance, Ensemble, Fixpoint, Judge

    assert missing_model(Chance()) is None
    assert missing_model(Fixpoint(model="folder")) is None
    assert missing_model(Fixpoint()) == "Fixpoint needs model=<folder or hub id>"
    assert "Judge" in missing_model(Ensemble(members=(Chance(), Judge())))
