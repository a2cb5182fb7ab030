"""buy and unlabel: what a budget of seconds pays for, and the same samples without what was said."""

from __future__ import annotations

from typing import Any

import pytest

from ilf import Nano, Simulated, buy, collect, load, sample, unlabel
from ilf.errors import DataError, UsageError


def answer(number: int, seconds: float | None = 100.0, annotation: str = "") -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "annotation_id": annotation or f"a{number}",
        "seconds": seconds,
        "critique": "no",
    }


POOL = [answer(i) for i in range(10)]


@pytest.mark.parametrize(("seconds", "n"), [(100, 1), (199, 1), (200, 2), (950, 9), (1000, 10)])
def test_a_budget_buys_the_first_answers_that_it_pays_for(seconds: float, n: int) -> None:
    assert list(buy(POOL, seconds=seconds)) == POOL[:n]


def test_a_budget_of_whole_answers_is_spent_whole_however_sums_round() -> None:
    pool = [answer(i, 0.1) for i in range(40)]
    assert len(list(buy(pool, seconds=3.0))) == 30


def test_smaller_budgets_buy_the_beginning_of_larger_ones_also_past_a_dear_answer() -> None:
    pool = [answer(0), answer(1, 500.0), answer(2, 10.0), answer(3, 400.0)]
    bought = [[row["id"] for row in buy(pool, seconds=seconds)] for seconds in (100, 599, 610, 1010)]
    assert bought == [["r0"], ["r0"], ["r0", "r1", "r2"], ["r0", "r1", "r2", "r3"]]


def test_an_annotation_in_several_rows_is_paid_once() -> None:
    pool = [answer(i, annotation=f"a{i // 3}") for i in range(9)]
    assert len(list(buy(pool, seconds=200))) == 6


def test_a_pool_that_is_too_small_is_said_and_one_that_just_suffices_is_not() -> None:
    assert len(list(buy(POOL, seconds=1099))) == 10
    with pytest.raises(
        DataError, match=r"10 answers of 1,000 s together; the budget is 1,100 s\. Collect more"
    ):
        list(buy(POOL, seconds=1100))
    with pytest.raises(DataError, match="0 answers"):
        list(buy([], seconds=5))


def test_answers_without_seconds_and_budgets_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 answers do not say how many seconds"):
        list(buy([answer(0), answer(1, None)], seconds=500))
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="is no budget"):
            list(buy(POOL, seconds=seconds))


class Echo:
    def generate(self, prompts: Any, n: int, seeds: Any) -> list[list[str]]:
        return [[f" Anna {seed} {i}." for i in range(n)] for seed in seeds]


@pytest.mark.parametrize("job", ["critique", "rank"])
def test_unlabelled_rows_are_those_that_nobody_was_asked_about(job: Any) -> None:
    samples = list(sample(load(world=Nano(), n=4), generator=Echo(), n=3))
    said = list(collect(samples, feedback=Simulated(Nano()), job=job))
    assert {row["id"] for row in said}.isdisjoint(row["id"] for row in samples)
    assert list(unlabel(said)) == samples
    assert list(unlabel([*said, *said])) == samples, "two people's answers about one sample are one row"


def test_a_loser_put_in_the_place_of_the_output_is_taken_back() -> None:
    row = {
        "id": "x",
        "sample_id": "s",
        "outputs": ["a", "b"],
        "output": "b",
        "critique": "rude",
        "ranking": [[0], [1]],
    }
    assert list(unlabel([row])) == [{"id": "s", "sample_id": "s", "outputs": ["a", "b"], "output": "a"}]
