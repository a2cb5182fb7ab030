"""Does this ranker read the critique? ``choose.feedback`` shows it another one, whatever the refiner was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from toys.echo import Echo

from ilf import DataError, choose, read_recipe, refine
from ilf.choose import WINDOW, columns
from ilf.records import line
from ilf.refine import shuffled_critiques
from rankers import Length

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Reader:
    """Likes the candidate that ends in the critique; keeps what it was shown."""

    seen: list[Any]

    needs_critique: ClassVar[bool] = True

    def score(
        self, queries: Sequence[Mapping[str, Any]], candidates: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        self.seen.extend(query["critique"] for query in queries)
        return [
            [float(bool(query["critique"]) and text.endswith(str(query["critique"]))) for text in texts]
            for query, texts in zip(queries, candidates, strict=True)
        ]


def rows_of(n: int = 6, **more: Any) -> Rows:
    return [
        {
            "id": f"r{i}",
            "prompt": f"P{i}",
            "output": "o",
            "critique": f"c{i}",
            "refinements": [" x", f" does c{i}", " y"],
            **more,
        }
        for i in range(n)
    ]


def shown(rows: Rows, **how: Any) -> list[Any]:
    reader = Reader([])
    found = list(choose(rows, ranker=reader, **how))
    assert [row.get("critique_read", "not said") for row in found] == (
        ["not said"] * len(found) if how.get("feedback", "told") == "told" else reader.seen
    )
    return reader.seen


def test_it_tells_rankers_that_read_from_those_that_do_not() -> None:
    rows = rows_of(40)
    real = list(choose(rows, ranker=Reader([]), feedback="real"))
    assert [row["picked"] for row in real] == [1] * 40
    for feedback in ("shuffled", "none"):
        misled = list(choose(rows, ranker=Reader([]), feedback=feedback))
        assert all(row["is_tied"] for row in misled)
        by_length = [row["picked"] for row in choose(rows, ranker=Length(), feedback=feedback)]
        assert by_length == [row["picked"] for row in choose(rows, ranker=Length())]


def test_by_default_the_ranker_sees_what_the_refiner_was_told() -> None:
    rows = list(refine(rows_of(), generator=Echo(), form="base", feedback="shuffled"))
    told = [row["critique_shown"] for row in rows]
    assert shown(rows) == told != [row["critique"] for row in rows]
    assert [line(row) for row in choose(rows, ranker=Length())] == [
        line(row) for row in choose(rows, ranker=Length(), feedback="told")
    ]


def test_what_the_ranker_sees_does_not_depend_on_what_the_refiner_was_told() -> None:
    plain = rows_of(30)
    own = [row["critique"] for row in plain]
    for told in ("real", "shuffled", "none"):
        rows = list(refine(plain, generator=Echo(), form="base", feedback=told, seed=3))
        assert shown(rows, feedback="real") == own
        assert shown(rows, feedback="none") == [None] * 30
        assert shown(rows, feedback="shuffled", seed=3) == shown(plain, feedback="shuffled", seed=3)
    # Else a ranker of refinements that were told another row's critique would be shown just that one.
    assert shown(plain, feedback="shuffled", seed=3) != shuffled_critiques(plain, 3)


@pytest.mark.parametrize("n", [2, 3, WINDOW + 5])
def test_shuffling_is_one_cycle_over_all_rows(n: int) -> None:
    rows = rows_of(n)
    found = shown(rows, feedback="shuffled")
    assert Counter(found) == Counter(row["critique"] for row in rows)
    at, steps = 0, 0
    while steps == 0 or at != 0:
        at, steps = int(found[at][1:]), steps + 1
    assert steps == n
    assert found == shown(rows, feedback="shuffled")
    assert n <= 3 or found != shown(rows, feedback="shuffled", seed=1)


def test_critiques_cross_the_borders_of_windows() -> None:
    found = shown(rows_of(2 * WINDOW), feedback="shuffled")
    assert any(int(critique[1:]) >= WINDOW for critique in found[:WINDOW])


@pytest.mark.parametrize("feedback", ["told", "real", "shuffled", "none"])
@pytest.mark.parametrize("done", [1, WINDOW])
def test_it_goes_on_where_it_was_stopped(feedback: Any, done: int) -> None:
    rows = rows_of(WINDOW + 3)
    whole = list(choose(rows, ranker=Reader([]), feedback=feedback))
    assert list(choose(rows, ranker=Reader([]), feedback=feedback, done=done)) == whole[done:]
    assert list(choose(iter(rows), ranker=Reader([]), feedback=feedback)) == whole


def test_rows_without_a_critique_stay_without() -> None:
    rows = rows_of(5)
    rows[2]["critique"] = None
    del rows[4]["critique"]
    found = shown(rows, feedback="shuffled", without_critique="tie")
    assert (found[2], found[4]) == (None, None)
    assert Counter(found[i] for i in (0, 1, 3)) == Counter(["c0", "c1", "c3"])
    for feedback in ("real", "shuffled"):
        with pytest.raises(DataError, match="row r2 has no critique"):
            shown(rows, feedback=feedback)
    assert shown(rows, feedback="none") == [None] * 5, "nobody is asked for a critique that is not shown"


def test_one_row_cannot_be_shuffled() -> None:
    with pytest.raises(DataError, match="at least two rows with critiques"):
        shown(rows_of(1), feedback="shuffled")


def test_where_nobody_said_anything_there_is_nothing_to_shuffle() -> None:
    """The controls of a comparison, whose rows are unlabelled, run under the same override."""
    rows = [{key: value for key, value in row.items() if key != "critique"} for row in rows_of()]
    assert shown(rows, feedback="shuffled", without_critique="tie") == [None] * len(rows)
    assert next(iter(choose(rows, ranker=Length(), feedback="shuffled")))["picked"] == 1


def test_columns_that_a_recipe_is_checked_by() -> None:
    def of(feedback: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return columns(
            {
                "ranker": Reader([]),
                "candidates": "refinements",
                "without_critique": "refuse",
                "feedback": feedback,
            }
        )

    assert "critique" in of("told")[0]
    assert "critique" in of("shuffled")[0]
    assert "critique" not in of("none")[0]
    assert "critique_read" in of("real")[1]
    assert "critique_read" not in of("told")[1]


def test_a_recipe_asks_it() -> None:
    recipe = read_recipe("nano").override({"choose.feedback": "shuffled"})
    assert {s.name: s for s in recipe.plan("choose")}["choose"].spec.settings["feedback"] == "shuffled"
