"""choice: who can tell the person's text from the model's, and what could give it away."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from ilf.choice import Table, choice, columns, label, questions, tidy
from ilf.errors import DataError, UsageError
from ilf.protocols import Ranker, Row
from ilf.rankers.oracle import Oracle
from rankers import Chance, Ensemble, Judge, Length, Likelihood


def rows_of(n: int) -> list[Row]:
    return [
        {
            "id": f"r{i}",
            "prompt": f"Task {i}.",
            "output": f" wrong {i}\n",
            "critique": f"Say {i}.",
            "human_refinement": f"\n right {i}\r\n",
            "secret": i,
        }
        for i in range(n)
    ]


@dataclass(frozen=True)
class Starts:
    """Likes what starts with a word; sees what it was asked."""

    word: str = " right"
    asked: ClassVar[list[Any]] = []

    def score(
        self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        self.asked.append((list(queries), [list(texts) for texts in candidates]))
        return [[float(text.startswith(self.word)) for text in texts] for texts in candidates]


@dataclass(frozen=True)
class Same:
    """Knows nothing: one score for all."""

    value: float = 0.5

    def score(
        self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        return [[self.value for _ in texts] for texts in candidates]


@dataclass(frozen=True)
class Knows:
    """A grader that reads a column of its own."""

    needs: ClassVar[tuple[str, ...]] = ("secret",)

    def grade(self, rows: Sequence[Row]) -> list[Any]:
        return [{"grade": float(row["output"].strip() == f"right {row['secret']}")} for row in rows]


def table(rows: Sequence[Row], *rankers: Ranker, **settings: Any) -> dict[tuple[str, int, str], Row]:
    lines = list(choice(rows, rankers=rankers, **settings))
    return {(line["ranker"], line["ways"], line["texts"]): line for line in lines}


def test_the_oracle_is_always_right_and_the_contrary_never() -> None:
    found = table(rows_of(30), Oracle(Knows()), Starts(" wrong"))
    for ways, texts in ((2, "tidy"), (8, "tidy"), (2, "stored")):
        assert found["oracle(grader=" + label(Knows()) + ")", ways, texts]["accuracy"] == 1.0
    wrong = found[label(Starts(" wrong")), 8, "tidy"]
    assert (wrong["accuracy"], wrong["right"], wrong["rows"], wrong["ties"]) == (0.0, 0, 30, 0)
    assert wrong["low"] == 0.0
    assert 0 < wrong["high"] < 0.15


@pytest.mark.parametrize("ranker", [Chance, Same])
def test_who_knows_nothing_is_at_chance(ranker: Any) -> None:
    """Over ten seeds of order and ties: within three standard errors, and the interval of each mostly holds it."""
    n, seeds = 200, range(10)
    lines = [line for seed in seeds for line in choice(rows_of(n), rankers=(ranker(),), seed=seed)]
    for ways in (2, 8):
        found = [line for line in lines if line["ways"] == ways and line["texts"] == "tidy"]
        share = sum(line["right"] for line in found) / (n * len(seeds))
        assert abs(share - 1 / ways) < 3 * (1 / ways * (1 - 1 / ways) / (n * len(seeds))) ** 0.5
        assert {line["by_chance"] for line in found} == {1 / ways}
        assert sum(line["low"] < 1 / ways < line["high"] for line in found) >= 8
    assert {line["ties"] for line in lines} == ({n} if ranker is Same else {0})


def test_the_person_s_text_stands_anywhere() -> None:
    asked = questions(rows_of(200), "human_refinement", Table(8, "tidy"), seed=0)
    places = [question.answer for question in asked]
    assert {places.count(place) for place in range(8)} <= set(range(10, 45))
    for question in asked:
        assert len(set(question.candidates)) == 8
        assert question.candidates[question.answer] == f" right {question.row['secret']}"
        assert f" wrong {question.row['secret']}" in question.candidates
        assert sum(text.startswith(" right") for text in question.candidates) == 7


def test_neither_the_order_of_rows_nor_another_run_changes_a_question() -> None:
    rows = rows_of(40)
    shuffled = list(rows)
    random.Random(3).shuffle(shuffled)

    def drawn(some: Sequence[Row], seed: int = 0) -> dict[str, list[str]]:
        asked = questions(some, "human_refinement", Table(8, "tidy"), seed=seed)
        return {question.row["id"]: question.candidates for question in asked}

    assert drawn(rows) == drawn(shuffled)
    assert drawn(rows) != drawn(rows, seed=1)


def test_line_ends_give_nobody_away_unless_asked_as_stored() -> None:
    """A ranker that only looks for the person's line ends is at chance on tidied texts, and right on stored ones."""

    @dataclass(frozen=True)
    class CarriageReturns:
        def score(
            self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
        ) -> list[list[float]]:
            return [[float("\r" in text or text[:1] == "\n") for text in texts] for texts in candidates]

    found = {line["texts"]: line for line in choice(rows_of(200), rankers=(CarriageReturns(),), ways=(2,))}
    assert found["stored"]["accuracy"] == 1.0
    assert found["tidy"]["ties"] == 200
    assert found["tidy"]["low"] < 0.5 < found["tidy"]["high"]
    assert {line["with_cr"] for line in found.values()} == {200}


def test_tidy() -> None:
    assert tidy("\n    \n    a\r\n\tb \r\n\r\n    c\n\n  ") == "    a\n\tb\n\n    c"
    assert tidy("") == tidy(" \r\n ") == ""


def test_a_ranker_without_its_model_says_so() -> None:
    found = list(choice(rows_of(9), rankers=(Judge(), Likelihood(), Ensemble((Length(), Judge())))))
    assert {line["accuracy"] for line in found} == {None}
    assert {line["reason"] for line in found} == {
        "Judge needs model=<folder or hub id>",
        "Likelihood needs model=<folder or hub id>",
    }
    assert len(found) == 9


def test_rankers_see_the_question_and_only_an_oracle_s_grader_more() -> None:
    Starts.asked.clear()
    list(choice(rows_of(9), rankers=(Starts(),)))
    assert len(Starts.asked) == 1, "one call for all tables, so that no text is read twice"
    for query in Starts.asked[0][0]:
        assert set(query) == {"id", "prompt", "output", "critique"}
    needs, adds = columns({"rankers": (Length(), Oracle(Knows())), "refinement": "fix"})
    assert needs == ("id", "prompt", "output", "critique", "fix", "secret")
    assert {"ranker", "accuracy", "low", "high", "reason"} <= set(adds)


def test_rows_without_a_choice_are_counted() -> None:
    rows = rows_of(20)
    rows[3]["human_refinement"] = rows[3]["output"] + "\r\n"
    found = table(rows, Starts(), Same(float("nan")))
    assert found[label(Starts()), 2, "tidy"]["left_out"] == 1
    assert found[label(Starts()), 2, "tidy"]["rows"] == 19
    assert found[label(Starts()), 2, "stored"]["left_out"] == 0
    nothing = found[label(Same(float("nan"))), 2, "tidy"]
    assert (nothing["accuracy"], nothing["rows"], nothing["reason"]) == (None, 0, "no trials")


def test_too_few_rows_and_settings_that_make_no_question() -> None:
    with pytest.raises(DataError, match="8 candidates need 6 rows"):
        list(choice(rows_of(6), rankers=(Length(),)))
    with pytest.raises(DataError, match="has no 'human_refinement'"):
        list(choice([{"id": "a", "prompt": "p", "output": "o", "critique": "c"}], rankers=(Length(),)))
    for rankers, ways in (((), (2,)), ((Length(),), ()), ((Length(),), (1,))):
        with pytest.raises(UsageError, match="at least one ranker"):
            list(choice(rows_of(3), rankers=rankers, ways=ways))


def test_labels_are_the_names_of_recipes_with_what_is_set() -> None:
    assert label(Length()) == "length"
    assert label(Length(prefer="short", unit="characters")) == "length(unit=characters, prefer=short)"
    assert label(Ensemble((Length(), Chance()))) == "ensemble(members=length + chance)"


def test_the_difference_from_the_longest_text_is_paired() -> None:
    """By the definition: the mean over rows of right minus right, and 1.97 standard errors (t, 199) around it."""
    rows = rows_of(200)
    for row in rows[:60]:
        row["output"] += " in many words"
    found = table(rows, Length(), Starts(), Length(prefer="short"))
    length, starts = found["length", 2, "tidy"], found[label(Starts()), 2, "tidy"]
    assert (length["over_length"], length["over_length_low"]) == (0.0, None), "nothing to estimate from"
    share = starts["accuracy"] - length["accuracy"]
    assert starts["over_length"] == pytest.approx(share)
    error = (share * (1 - share) / 199) ** 0.5  # right is 1 in all rows, so the differences are 0 or 1
    assert starts["over_length_low"] == pytest.approx(share - 1.972 * error, abs=1e-4)
    assert starts["over_length_high"] == pytest.approx(share + 1.972 * error, abs=1e-4)
