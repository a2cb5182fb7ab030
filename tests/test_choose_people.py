"""A person's choice beats a ranker's: accepted, edited, written, ignored on request, and never in a control."""

from __future__ import annotations

from typing import Any

import pytest
from toys.echo import Echo

from ilf import DataError, choose, refine
from ilf.records import line
from rankers import Length

Rows = list[dict[str, Any]]


def rows_of(**more: Any) -> Rows:
    row = {
        "id": "r",
        "prompt": "p",
        "output": "o",
        "critique": "c",
        "refinements": [" long long", " b", " b"],
    }
    return [row | more]


def one(row: Rows, **how: Any) -> dict[str, Any]:
    (found,) = choose(row, ranker=Length(), **how)
    return found


def test_an_accepted_refinement_beats_the_rankers() -> None:
    found = one(rows_of(preferred=" b"))
    assert (found["completion"], found["picked"], found["is_tied"]) == (" b", 1, False)
    assert found["picked_by"] == "person"
    assert found["scores"] == one(rows_of())["scores"], "marked all the same"


def test_a_persons_own_text_is_no_candidate() -> None:
    found = one(rows_of(preferred=" mine"))
    assert (found["completion"], found["picked"], len(found["scores"])) == (" mine", None, 3)


@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_without_a_choice_the_ranker_picks(nothing: str | None) -> None:
    found = one(rows_of(preferred=nothing))
    assert found["completion"] == " long long"
    assert "picked_by" not in found


def test_people_can_be_ignored() -> None:
    assert one(rows_of(preferred=" b"), people="ignore")["completion"] == " long long"


def test_first_answers_as_candidates_are_no_refinements() -> None:
    """The arm that imitates the model's own answers must not learn from what people preferred."""
    assert one(rows_of(preferred=" b"), candidates="output")["completion"] == "o"


def test_a_text_for_a_row_that_nobody_refined() -> None:
    (row,) = rows_of(preferred=" mine")
    del row["refinements"]
    ranked, (written,) = rows_of(), [row | {"id": "s"}]
    found = list(choose([*ranked, written, *rows_of(id="t")], ranker=Length()))
    assert [r["completion"] for r in found] == [" long long", " mine", " long long"]
    assert (found[1]["scores"], found[1]["picked"], found[1]["refinements"]) == ([], None, [])
    del written["preferred"]
    with pytest.raises(DataError, match="row 1: has no 'refinements'"):
        one([written])


def test_a_ranker_is_not_asked_about_nothing() -> None:
    class Strict:
        def score(self, queries: Any, candidates: Any) -> list[list[float]]:
            assert all(candidates)
            return [[float(len(text)) for text in texts] for texts in candidates]

    (row,) = rows_of(preferred=" mine", refinements=[])
    found = list(choose([row, *rows_of()], ranker=Strict()))
    assert [r["completion"] for r in found] == [" mine", " long long"]


def test_rows_without_a_choice_give_the_same_bytes() -> None:
    rows = list(
        refine(
            [{"id": f"r{i}", "prompt": "p", "output": "o", "critique": "c"} for i in range(9)],
            generator=Echo(),
            form="base",
        )
    )
    first = [line(row) for row in choose(rows, ranker=Length())]
    assert first == [line(row) for row in choose(rows, ranker=Length(), people="ignore")]
    among = [*rows[:4], rows_of(preferred=" b")[0], *rows[4:]]
    found = [line(row) for row in choose(among, ranker=Length())]
    assert found[:4] + found[5:] == first


@pytest.mark.parametrize("feedback", ["shuffled", "none"])
def test_a_control_owes_nothing_to_what_people_preferred(feedback: Any) -> None:
    rows = [
        {
            "id": f"r{i}",
            "prompt": "p",
            "output": "o",
            "critique": f"c{i}",
            "job": "critique",
            "preferred": " mine",
        }
        for i in range(3)
    ]
    refined = list(refine(rows, generator=Echo(), form="base", feedback=feedback))
    assert all(row["completion"] in row["refinements"] for row in choose(refined, ranker=Length()))
    told = refine(rows, generator=Echo(), form="base")
    assert all(row["completion"] == " mine" for row in choose(told, ranker=Length()))
    judged = [row | {"job": "refine"} for row in refined]
    assert all(row["completion"] == " mine" for row in choose(judged, ranker=Length())), (
        "said of these refinements"
    )


def test_a_choice_that_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="row r: 'preferred' must be text, is list"):
        one(rows_of(preferred=[" b"]))


def ranked(ranking: list[list[int]]) -> Rows:
    return [
        {"id": "r", "prompt": "p", "outputs": [" aa aa", " b", " c c c"], "ranking": ranking, "job": "rank"}
    ]


def test_the_best_ranked_output_beats_the_ranker() -> None:
    found = one(ranked([[1], [0, 2]]), candidates="outputs")
    assert (found["completion"], found["picked"], found["picked_by"]) == (" b", 1, "person")
    assert None not in found["scores"]


def test_the_ranker_decides_among_those_that_a_person_tied_first() -> None:
    found = one(ranked([[0, 1], [2]]), candidates="outputs")
    assert (found["completion"], found["picked"], found["picked_by"]) == (" aa aa", 0, "both")
    assert None not in found["scores"], "all are marked, so that rankers can be compared with people"


def test_a_ranking_is_ignored_on_request() -> None:
    found = one(ranked([[1], [0, 2]]), candidates="outputs", people="ignore")
    assert found["completion"] == " c c c"
    assert "picked_by" not in found
