"""The simulated annotator: preferences with reasons, at their price, and everything else as it was."""

from __future__ import annotations

from typing import Any

import pytest
from toys.echo import Echo

from ilf import Nano, Simulated, collect, load, pair, refine
from ilf.collect import columns
from ilf.config import find, resolve
from ilf.errors import UsageError
from ilf.records import row_id
from ilf.strategies.dpo import DPO

WORLD = Nano()


@pytest.fixture(scope="module")
def asked() -> list[dict[str, Any]]:
    """Posts with two answers of the noisy web each, one pair of equals among them."""
    import random

    rows = []
    for i, row in enumerate(load(world=WORLD, n=30)):
        rng = random.Random(i)
        outputs = [WORLD.faulty(rng, row["facts"]) for _ in range(2)]
        if i == 0:
            outputs[1] = outputs[0]
        rows.append({**row, "sample_id": row["id"], "output": outputs[0], "outputs": outputs})
    return rows


def said(rows: list[dict[str, Any]], job: str = "pairwise", **how: Any) -> list[dict[str, Any]]:
    return list(collect(rows, feedback=Simulated(WORLD, **how), job=job, seed=3))  # type: ignore[arg-type]


def test_a_reason_is_a_critique_of_the_worse_output(asked: list[dict[str, Any]]) -> None:
    grades = [[WORLD.grade(row["facts"], output)["grade"] for output in row["outputs"]] for row in asked]
    found = said(asked, why="always")
    told = 0
    for row, (first, second) in zip(found, grades, strict=True):
        assert row["output"] == row["outputs"][1 if first > second else 0], "of equals the first"
        assert row["critique"] == row["why"]
        faulty = WORLD.grade(row["facts"], row["output"])["perfect"] != 1.0
        assert (row["critique"] != "Nothing to change.") == faulty
        told += row["outputs"].index(row["output"])
    assert 5 < told < 25
    assert found[0]["ranking"] == [[0, 1]]


def test_rankings_do_not_change_when_reasons_are_asked_for(asked: list[dict[str, Any]]) -> None:
    for error_rate in (0.0, 0.4):
        plain = said(asked, error_rate=error_rate)
        reasons = said(asked, error_rate=error_rate, why="always")
        assert [row["ranking"] for row in plain] == [row["ranking"] for row in reasons]
        assert not {row["annotation_id"] for row in plain} & {row["annotation_id"] for row in reasons}
        assert len({row["id"] for row in reasons}) == len(reasons)


def test_a_preference_with_its_reason_costs_both(asked: list[dict[str, Any]]) -> None:
    assert {row["seconds"] for row in said(asked, why="always")} == {61.5 + 182.5}
    assert {row["seconds"] for row in said(asked)} == {61.5}
    always = Simulated(WORLD, why="always")
    assert always.price("pairwise", 2) == 244.0
    assert [always.price(job, 2) for job in ("rank", "verdict", "critique", "demonstrate")] == [
        61.5, 61.5, 182.5, 195.5,
    ]  # fmt: skip


@pytest.mark.parametrize("job", ["critique", "rank", "pairwise", "demonstrate", "verdict"])
def test_without_reasons_rows_are_what_they_were(asked: list[dict[str, Any]], job: str) -> None:
    """No further column, the annotation named as before; reasons are for ``pairwise`` alone."""
    found = said(asked, job)
    assert said(asked, job, why="never") == found
    if job != "pairwise":
        assert said(asked, job, why="always") == found
    for row, before in zip(found, asked, strict=True):
        added = {"critique": "critique", "demonstrate": "completion"}.get(job, "ranking")
        assert set(row) - set(before) == {"annotation_id", "job", "annotator", "seconds", added}
        assert row["annotation_id"] == row_id("simulated", job, before["id"], 3, 0.0)


def test_refine_and_dpo_both_read_the_rows(asked: list[dict[str, Any]]) -> None:
    rows = said(asked, why="always")
    refined = list(refine(rows, generator=Echo(), form="nano", n=2))
    assert [row["critique_shown"] for row in refined] == [row["why"] for row in rows]
    pairs = list(pair(rows))
    assert set(DPO.needs) <= set(pairs[0])
    assert all(made["rejected"] == made["output"] for made in pairs)


def test_a_recipe_knows_that_there_is_a_critique() -> None:
    def added(job: str, **how: Any) -> tuple[str, ...]:
        return columns({"job": job, "feedback": Simulated(WORLD, **how)})[1]

    assert "critique" in added("pairwise", why="always")
    assert "critique" not in added("pairwise")
    assert "critique" not in added("rank", why="always")
    problems: list[str] = []
    given = {"world": "nano", "why": "sometimes"}
    resolve(find("FeedbackSource", "simulated"), "simulated", given, "collect.feedback", {}, problems)
    assert problems
    assert "'sometimes' is none of: never, always" in problems[0]
    with pytest.raises(UsageError, match="error_rate"):
        Simulated(WORLD, error_rate=1.5)
