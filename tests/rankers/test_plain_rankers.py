"""chance, length, overlap, ensemble: against their definitions."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from rankers import Chance, Ensemble, Length, Overlap, RankerError
from rankers.overlap import ratio, rouge_l, token_f1

ROWS = [{"id": f"row-{i}", "output": "Tom broke his kettle."} for i in range(400)]


def test_chance_is_uniform_and_seeded():
    flat = [s for row in Chance(seed=1).score(ROWS, [["a"] * 5] * 400) for s in row]
    assert all(0.0 <= s < 1.0 for s in flat)
    # Mean 1/2, standard error .0065.
    assert abs(fmean(flat) - 0.5) < 4 * 0.0065
    assert len(set(flat)) == len(flat)
    assert flat != [s for row in Chance(seed=2).score(ROWS, [["a"] * 5] * 400) for s in row]


def test_chance_depends_on_the_id_alone():
    one = Chance().score([{"id": "x", "output": "a", "critique": "b"}], [["c", "d"]])
    assert one == Chance().score([{"id": "x"}], [["e", "f"]])
    with pytest.raises(RankerError, match="no id"):
        Chance().score([{}], [["c"]])


def test_length_units_and_sign():
    texts = [["two words", "incomprehensibilities", ""]]
    assert Length().score([{}], texts) == [[2.0, 1.0, 0.0]]
    assert Length(unit="characters").score([{}], texts) == [[9.0, 21.0, 0.0]]
    assert Length(prefer="short").score([{}], texts) == [[-2.0, -1.0, 0.0]]


words = st.lists(st.sampled_from(["the", "a", "lamp", "kettle", "cost", "40", "coins"]), max_size=8).map(
    " ".join
)


@given(words, words)
def test_rouge_l_is_that_of_the_reference_package(a, b):
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(a, b)["rougeL"].fmeasure if a or b else 1.0
    assert rouge_l(a, b) == pytest.approx(expected)
    assert rouge_l(a, b) == rouge_l(b, a)


@given(words, words)
def test_token_f1_counts_every_pair_once(a, b):
    left, right = a.split(), b.split()
    remaining, common = list(right), 0
    for token in left:
        if token in remaining:
            remaining.remove(token)
            common += 1
    precision, recall = common / max(1, len(right)), common / max(1, len(left))
    expected = 2 * precision * recall / (precision + recall) if common else float(not left and not right)
    assert token_f1(a, b) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [rouge_l, token_f1, ratio])
def test_overlap_is_one_for_equal_texts_and_zero_for_strangers(measure):
    assert measure("Tom broke his kettle.", "Tom broke his kettle.") == 1.0
    assert measure("aaa", "bbb") == 0.0
    assert measure("", "") == 1.0
    assert measure("", "b") == 0.0


def test_overlap_against_the_output_and_turned_round():
    candidates = [["Tom broke his kettle.", "Tom broke a lamp.", "Nothing else"]]
    query = [{"output": "Tom broke his kettle."}]
    near = Overlap().score(query, candidates)[0]
    assert near[0] == 1.0 > near[1] > near[2] == 0.0
    assert Overlap(prefer="far").score(query, candidates)[0] == [1.0 - s for s in near]
    with pytest.raises(RankerError, match="'q'.*no output"):
        Overlap().score([{"id": "q"}], candidates)


class _Fixed:
    def __init__(self, *scores):
        self.scores = list(scores)

    def score(self, queries, candidates):
        return [self.scores for _ in queries]


def _ensemble(*members, combine="rank"):
    return Ensemble(members=members, combine=combine).score([{}], [["a"] * len(members[0].scores)])[0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_rank_of_one_member_counts_those_below_and_half_of_those_equal(scores):
    expected = [0.5 + sum((s > o) + (s == o) / 2 for o in scores) for s in scores]
    assert _ensemble(_Fixed(*scores)) == pytest.approx(expected)
    # Ranks of n candidates always sum to n (n + 1) / 2, ties or not.
    assert sum(_ensemble(_Fixed(*scores))) == pytest.approx(len(scores) * (len(scores) + 1) / 2)


def test_ensemble_is_the_mean_rank_and_blind_to_units():
    a, b = _Fixed(1.0, 2.0, 3.0), _Fixed(900.0, 100.0, 500.0)
    assert _ensemble(a, b) == [2.0, 1.5, 2.5]
    assert _ensemble(a, _Fixed(9e9, 1e9, 5e9)) == _ensemble(a, b)


def test_z_has_mean_zero_and_deviation_one():
    scores = _ensemble(_Fixed(1.0, 2.0, 3.0, 10.0), combine="z")
    assert fmean(scores) == pytest.approx(0.0)
    assert fmean(s * s for s in scores) == pytest.approx(1.0)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_a_member_without_an_opinion_has_none(noise):
    silent = _Fixed(0.1, 0.1 + noise, 0.1)
    assert _ensemble(silent, combine="z") == [0.0, 0.0, 0.0]
    loud = _Fixed(1.0, 3.0, 2.0)
    for one, two in combinations(range(3), 2):
        alone, both = _ensemble(loud, combine="z"), _ensemble(loud, silent, combine="z")
        assert (alone[one] > alone[two]) == (both[one] > both[two])


def test_what_one_member_cannot_score_has_no_score():
    scores = _ensemble(_Fixed(1.0, math.nan, 3.0), _Fixed(1.0, 2.0, 3.0))
    assert math.isnan(scores[1])
    assert scores[0] < scores[2]


def test_an_ensemble_of_nobody_is_refused():
    with pytest.raises(RankerError, match="at least one member"):
        Ensemble(members=())


def test_an_ensemble_needs_what_its_members_need():
    from rankers import Similarity

    assert not Ensemble(members=(Length(), Chance())).needs_critique
    assert Ensemble(members=(Length(), Similarity())).needs_critique
