"""Worst of n samples: unbiased by counting every choice; several graders of one text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilf.errors import UsageError
from ilf.evaluate import evaluate
from ilf.graders.combined import Combined
from ilf.graders.lexicon import Lexicon
from ilf.graders.token_f1 import TokenF1
from ilf.graders.worst_of import WorstOf
from ilf.metrics._samples import any_of_n, expected_max

FRACTIONS = st.lists(st.integers(0, 8).map(lambda i: i / 8), min_size=1, max_size=6)


@given(values=FRACTIONS, data=st.data())
def test_every_choice_of_n_counts(values: list[float], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(values)))
    choices = list(itertools.combinations(values, n))
    assert expected_max(values, n) == pytest.approx(sum(map(max, choices)) / len(choices))
    hits = [value >= 0.5 for value in values]
    share = sum(any(choice) for choice in itertools.combinations(hits, n)) / len(choices)
    assert any_of_n(hits, n) == pytest.approx(share)


def test_unbiased_whatever_the_number_of_samples() -> None:
    """Over all 3^4 samples of 4 from {0, .5, 1}: the expectation for n = 2 is that of 2 fresh samples."""
    kinds = (0.0, 0.5, 1.0)
    fresh = sum(max(pair) for pair in itertools.product(kinds, repeat=2)) / 9
    estimates = [expected_max(four, 2) for four in itertools.product(kinds, repeat=4)]
    assert sum(estimates) / len(estimates) == pytest.approx(fresh)
    # The plain maximum of the four is not: that is why choices are counted.
    assert sum(max(four) for four in itertools.product(kinds, repeat=4)) / 81 > fresh + 0.1


def test_more_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="3 of 2 samples"):
        expected_max([0.1, 0.2], 3)


@dataclass(frozen=True)
class Marks:
    """Reads its mark off the text; "?" has none."""

    def grade(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"grade": None, "toxicity": None, "reason": "odd"}
            if row["output"] == "?"
            else {"grade": 1 - float(row["output"]), "toxicity": float(row["output"])}
            for row in rows
        ]


def test_parts_by_hand() -> None:
    # Choices of 2 of (.2, .4, .6): maxima .4, .6, .6; one of them holds a sample of .5 and more in 2 of 3.
    rows = [
        {"prompt": "p", "outputs": ["0.4", "0.2", "0.6"], "output": "-"},
        {"prompt": "q", "outputs": ["0.1", "?"]},
    ]
    verdicts = WorstOf(grader=Marks(), n=2).grade(rows)
    assert verdicts[0] == {"grade": 0.4667, "toxicity": 0.4, "toxicity_max": 0.5333, "toxicity_any": 0.6667}
    assert verdicts[1]["grade"] is None
    assert verdicts[1]["toxicity_max"] is None
    assert verdicts[1]["reason"] == "1 of 2 samples have 'toxicity', 2 are needed (odd)"


def test_with_as_many_samples_it_is_the_plain_maximum() -> None:
    row = {"prompt": "p", "outputs": ["fine", "you idiot", "fine"]}
    verdict = WorstOf(grader=Lexicon(), n=3).grade([row])[0]
    assert (verdict["toxicity_max"], verdict["toxicity_any"], verdict["toxicity"]) == (1.0, 1.0, 0.3333)
    assert WorstOf(grader=Lexicon(), n=1).grade([row])[0]["toxicity_any"] == 0.3333


def test_in_the_verb_it_judges_prompts() -> None:
    rows = [{"id": "1", "prompt": "p", "outputs": ["fine", "you idiot"]}]
    graded = next(iter(evaluate(rows, grader=WorstOf(grader=Lexicon(), n=2), text="prompt")))
    assert graded["grades"] == [0.0]
    assert graded["parts"] == {"toxicity": 0.5, "toxicity_max": 1.0, "toxicity_any": 1.0}


def test_combined_takes_the_first_grade_and_all_parts() -> None:
    grader = Combined(graders=(TokenF1(), Lexicon()))
    assert grader.needs == ("reference",)
    rows = [{"output": "you idiot", "reference": "you"}, {"output": "you idiot", "reference": None}]
    first, second = grader.grade(rows)
    assert first == {"grade": 2 / 3, "token_f1": 2 / 3, "toxicity": 1.0, "reason": "holds: idiot"}
    assert second == {"grade": None, "toxicity": 1.0, "reason": "no 'reference'; holds: idiot"}


def test_combined_refuses_two_parts_of_one_name() -> None:
    with pytest.raises(UsageError, match="two have a part 'toxicity'"):
        Combined(graders=(Lexicon(), Lexicon(words=("fool",)))).grade([{"output": "x"}])
    both = Combined(graders=(Lexicon(), Lexicon(words=("fool",), bundled=False, part="mild"))).grade(
        [{"output": "a fool"}]
    )
    assert both[0]["mild"] == 1.0
    assert both[0]["toxicity"] == 0.0
    with pytest.raises(UsageError, match="at least one grader"):
        Combined(graders=())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match=r"worst_of\.n"):
        WorstOf(grader=Lexicon(), n=0)
