"""consensus: each candidate's mean overlap with the others."""

from __future__ import annotations

import pytest

from rankers import Consensus, Overlap, best, rank

ROW = {"id": "r", "prompt": "p", "output": "o"}
TEXTS = ["a b c d", "a b c", "a b c d", "x y"]


@pytest.mark.parametrize("measure", ["rouge_l", "token_f1", "ratio"])
def test_it_is_the_mean_of_overlap_with_each_other_candidate(measure):
    overlap = Overlap(measure=measure)
    expected = [
        sum(
            overlap.score([{"id": "x", "output": other}], [[text]])[0][0]
            for j, other in enumerate(TEXTS)
            if j != i
        )
        / 3
        for i, text in enumerate(TEXTS)
    ]
    assert Consensus(measure=measure).score([ROW], [TEXTS])[0] == pytest.approx(expected, abs=1e-12)


def test_a_candidate_is_no_vote_for_itself_but_its_twin_is():
    scores = Consensus().score([ROW], [["a b", "c d", "c d"]])[0]
    assert scores == [0.0, 0.5, 0.5]
    assert best(scores).is_tied
    assert rank(Consensus(), ROW, TEXTS)[-1] == 3


def test_alone_there_is_nothing_to_agree_with():
    assert Consensus().score([ROW, ROW], [["a"], []]) == [[0.0], []]
    assert not Consensus.needs_critique
