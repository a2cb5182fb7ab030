"""The verbs as functions on lists of rows: what they add, what they refuse, and that nothing leaks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from toys.echo import Echo

from ilf import (
    DataError,
    Nano,
    Oracle,
    Simulated,
    UsageError,
    WorldGrader,
    choose,
    collect,
    evaluate,
    load,
    refine,
    sample,
)
from ilf.refine import shuffled_critiques
from rankers import Chance, Length, Overlap

Rows = list[dict[str, Any]]


def rows_of(n: int = 6) -> Rows:
    return [{"id": f"r{i}", "prompt": f"P{i}", "output": f" o{i}", "critique": f"c{i}"} for i in range(n)]


def test_three_lines_do_refine_choose() -> None:
    rows = list(refine(rows_of(), generator=Echo(), n=4, form="base"))
    chosen = list(choose(rows, ranker=Length()))
    for row in chosen:
        assert row["completion"] == row["refinements"][row["picked"]]
        assert len(row["completion"].split()) == max(len(text.split()) for text in row["refinements"])
        assert set(row) >= {"prompt", "output", "critique", "critique_shown", "scores", "is_tied"}


def test_a_rows_samples_do_not_depend_on_its_neighbours() -> None:
    rows = rows_of()
    together = list(sample(rows, generator=Echo(), n=3, seed=5))
    alone = [next(iter(sample([row], generator=Echo(), n=3, seed=5))) for row in reversed(rows)]
    assert together == alone[::-1]
    assert together != list(sample(rows, generator=Echo(), n=3, seed=6))
    assert len({row["sample_id"] for row in together}) == len(rows)


@pytest.mark.parametrize("verb", [sample, refine])
def test_less_than_one_text_is_refused(verb: Any) -> None:
    with pytest.raises(UsageError, match="must be 1 or more"):
        list(verb(rows_of(), generator=Echo(), n=0))


def test_controls_of_refine_change_what_the_refiner_is_told() -> None:
    rows = rows_of()
    real = [row["critique_shown"] for row in refine(rows, generator=Echo(), form="base")]
    none = [row["critique_shown"] for row in refine(rows, generator=Echo(), form="base", feedback="none")]
    shuffled = [
        row["critique_shown"] for row in refine(rows, generator=Echo(), form="base", feedback="shuffled")
    ]
    assert real == [row["critique"] for row in rows]
    assert none == [None] * len(rows)
    assert sorted(shuffled) == sorted(real)
    assert all(a != b for a, b in zip(shuffled, real, strict=True)), "no row keeps its own critique"


@pytest.mark.parametrize("n", [2, 3, 10, 101])
def test_shuffling_leaves_nobody_their_own(n: int) -> None:
    rows = rows_of(n)
    found = shuffled_critiques(rows, seed=1)
    assert Counter(found) == Counter(row["critique"] for row in rows)
    assert all(a != row["critique"] for a, row in zip(found, rows, strict=True))
    assert shuffled_critiques(rows, seed=1) == found


def test_shuffled_feedback_resumes_in_the_middle_with_the_same_critiques(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib

    monkeypatch.setattr(importlib.import_module("ilf.refine"), "WINDOW", 2)
    whole = list(refine(rows_of(), generator=Echo(), form="base", feedback="shuffled"))
    assert whole[4:] == list(refine(rows_of(), generator=Echo(), form="base", feedback="shuffled", done=4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critique": " "}, "'critique' is empty"),
        ({"output": None}, "'output' must be text"),
        ({"prompt": ""}, "'prompt' is empty"),
    ],
)
def test_rows_that_cannot_be_refined_are_named(change: Any, message: str) -> None:
    rows = rows_of()
    rows[3] |= change
    with pytest.raises(DataError, match=f"row 4: {message}"):
        list(refine(rows, generator=Echo(), form="base"))


def test_an_unknown_form_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'base'"):
        list(refine(rows_of(), generator=Echo(), form="bse"))


def test_ties_are_broken_by_seed_and_marked() -> None:
    rows = [
        {"id": f"r{i}", "prompt": "p", "output": "o", "critique": "c", "refinements": ["aa", "bb"]}
        for i in range(200)
    ]
    chosen = list(choose(rows, ranker=Length(), seed=1))
    assert all(row["is_tied"] for row in chosen)
    assert 60 < sum(row["picked"] for row in chosen) < 140
    assert chosen == list(choose(rows, ranker=Length(), seed=1))


def test_a_ranker_that_reads_critiques_refuses_rows_without() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Reader:
        """Reads critiques."""

        needs_critique = True

        def score(self, queries: Any, candidates: Any) -> list[list[float]]:
            return [[0.0 for _ in texts] for texts in candidates]

    rows = [{"id": "r", "prompt": "p", "output": "o", "refinements": ["aa", "bb"]}]
    with pytest.raises(DataError, match="has no critique"):
        list(choose(rows, ranker=Reader()))
    assert next(iter(choose(rows, ranker=Reader(), without_critique="tie")))["is_tied"]


def world_rows(n: int = 5) -> Rows:
    return list(sample(list(load(world=Nano(), n=n)), generator=Echo()))


def test_the_annotator_is_paid_per_annotation() -> None:
    rows = world_rows()
    critiques = list(collect(rows, feedback=Simulated(Nano())))
    assert [row["seconds"] for row in critiques] == [182.5] * 5
    assert len({row["annotation_id"] for row in critiques}) == 5
    assert all(row["critique"].strip() for row in critiques)
    demos = list(collect(rows, feedback=Simulated(Nano()), job="demonstrate"))
    assert all(row["seconds"] == 195.5 for row in demos)
    graded = list(evaluate(demos, grader=WorldGrader(Nano()), text="completion"))
    assert all(row["grade"] == 1.0 for row in graded), "a demonstration without error is faultless"
    ranked = list(collect(list(sample(rows, generator=Echo(), n=4)), feedback=Simulated(Nano()), job="rank"))
    assert all(row["seconds"] == 3 * 61.5 for row in ranked)
    assert all(sorted(i for group in row["ranking"] for i in group) == [0, 1, 2, 3] for row in ranked)


def test_evaluate_grades_every_text_of_a_list() -> None:
    world = Nano()
    rows = list(load(world=world, n=3))
    import random

    right = world.demonstrate(random.Random(0), rows[0]["facts"])
    rows[0] |= {"outputs": [right, "nonsense"]}
    (row,) = evaluate(rows[:1], grader=WorldGrader(world), text="outputs")
    assert row["grades"] == [1.0, 0.0]
    assert row["grade"] == 0.5
    assert row["reasons"], "a text outside the grammar has parts that are unknown, with a reason"
    assert row["parts"]["recall"] == 1.0, "a mean over what could be measured"


def test_ground_truth_leaks_to_nobody_but_the_oracle() -> None:
    rows = list(collect(world_rows(), feedback=Simulated(Nano())))
    blind = [{key: value for key, value in row.items() if key != "facts"} for row in rows]

    def without_facts(found: Any) -> Rows:
        return [{key: value for key, value in row.items() if key != "facts"} for row in found]

    refined = list(refine(rows, generator=Echo(), form="nano"))
    assert without_facts(refined) == list(refine(blind, generator=Echo(), form="nano"))
    for ranker in (Length(), Chance(), Overlap()):
        assert without_facts(choose(refined, ranker=ranker)) == list(
            choose(without_facts(refined), ranker=ranker)
        )
    with pytest.raises(KeyError):
        list(choose(without_facts(refined), ranker=Oracle(WorldGrader(Nano()))))
