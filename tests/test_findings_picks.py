"""The table of picks, against what one computes by hand from slates, scores and picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import Lab, by_hand
from scipy.stats import kendalltau

from ilf import findings
from ilf.compare import Cell, Comparison


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@dataclass(frozen=True)
class Slate:
    """The candidates of one row, their grades, and the score that a ranker gave each."""

    texts: Sequence[str]
    grades: Any


def picked(slate: Slate, scores: Sequence[float | None], pick: int | None, *, tied: bool = False) -> Any:
    return {
        "prompt": "post",
        "output": " old ",
        "critique": "so",
        "candidates": "refinements",
        "refinements": list(slate.texts),
        "scores": list(scores),
        "picked": pick,
        "is_tied": tied,
        "completion": None if pick is None else slate.texts[pick],
    }


def pick_table(lab: Lab, seeds: Mapping[int, tuple[Sequence[Slate], Mapping[str, Sequence[Any]]]]) -> Any:
    """Seed -> its slates and, per ranker, its rows."""
    cells = []
    rankers = list(next(iter(seeds.values()))[1])
    for seed, (slates, rows) in seeds.items():
        truth = [{"grades": list(slate.grades)} for slate in slates]
        for name, content in {"graded": truth, **rows}.items():
            lab.finish(f"{name}/{seed}", content)
            step = "graded" if name == "graded" else "choose"
            cells.append(Cell(name, seed, [], {step: f"{name}/{seed}"}))
    comparison = Comparison("evaluate", (), tuple(seeds), picks=tuple(rankers), graded_step="graded")
    return {entry["ranker"]: entry for entry in findings.pick_table(comparison, cells, lab.step)}


def slates(seed: int, n: int = 10) -> list[Slate]:
    rng = np.random.default_rng(seed)
    return [
        Slate([" w" * int(k) for k in rng.integers(1, 6, 4)], [float(g) for g in rng.uniform(0, 1, 4)])
        for _ in range(n)
    ]


def test_picks_are_those_of_the_rows(lab: Lab) -> None:
    by_seed = {seed: slates(seed) for seed in range(4)}
    rng = np.random.default_rng(9)
    scores = {(seed, i): [float(s) for s in rng.normal(size=4)] for seed in by_seed for i in range(10)}
    best = {at: int(np.argmax(values)) for at, values in scores.items()}
    rows = {
        seed: [picked(s, scores[seed, i], best[seed, i], tied=i == 3) for i, s in enumerate(own)]
        for seed, own in by_seed.items()
    }
    line = pick_table(lab, {seed: (own, {"some": rows[seed]}) for seed, own in by_seed.items()})["some"]
    every = [(by_seed[seed][i], best[seed, i], scores[seed, i]) for seed, i in scores]
    grade = np.mean([slate.grades[pick] for slate, pick, _ in every])
    coin = np.mean([np.mean(slate.grades) for slate, _, _ in every])
    ceiling = np.mean([max(slate.grades) for slate, _, _ in every])
    grades = [[by_seed[seed][i].grades[best[seed, i]] for seed in by_seed] for i in range(10)]
    assert (line["grade"], line["low"], line["high"]) == pytest.approx(by_hand(grades)[:3])
    assert line["low"] > 0
    assert line["grade"] == pytest.approx(grade)
    assert line["headroom"] == pytest.approx((grade - coin) / (ceiling - coin))
    assert line["tau"] == pytest.approx(np.mean([kendalltau(s, slate.grades)[0] for slate, _, s in every]))
    longest = [len(slate.texts[pick]) == max(map(len, slate.texts)) for slate, pick, _ in every]
    assert line["longest"] == pytest.approx(np.mean(longest))
    assert line["unchanged"] == 0
    assert line["ties"] == 4
    assert "left_out" not in line


def test_headroom_is_one_for_the_oracle_and_none_where_there_is_none_to_win(lab: Lab) -> None:
    own = slates(0)
    oracle = [picked(s, s.grades, int(np.argmax(s.grades))) for s in own]
    worst = [picked(s, s.grades, int(np.argmin(s.grades))) for s in own]
    # Every candidate of a row is picked once: exactly what a coin gives.
    four = [Slate(own[0].texts, own[0].grades)] * 4
    coin = [picked(s, [1.0] * 4, i, tied=True) for i, s in enumerate(four)]
    flat = [Slate(["a"] * 8, [grade] * 8) for grade in (0.1, 0.3)]  # sum([0.1] * 8) / 8 is not 0.1
    level = [picked(s, [1.0] * 8, 2, tied=True) for s in flat]
    found = pick_table(lab, {0: (own, {"oracle": oracle, "worst": worst})})
    assert found["oracle"]["headroom"] == 1
    assert found["oracle"]["tau"] == pytest.approx(1)
    assert found["worst"]["headroom"] < 0
    assert pick_table(Lab(lab.folder / "coin"), {0: (four, {"chance": coin})})["chance"][
        "headroom"
    ] == pytest.approx(0)
    line = pick_table(Lab(lab.folder / "flat"), {0: (flat, {"level": level})})["level"]
    assert line["headroom"] is None
    assert line["tau"] is None


def test_longest_and_unchanged_count_the_picks_that_are(lab: Lab) -> None:
    own = [Slate(["old", " longer"], [0.1, 0.2])] * 3 + [Slate([" new", " ne "], [0.1, 0.4])]
    rows = [picked(s, [1.0, 0.0], pick) for s, pick in zip(own, (0, 0, 1, 1), strict=True)]
    line = pick_table(lab, {0: (own, {"some": rows})})["some"]
    assert line["unchanged"] == 2 / 4
    assert line["longest"] == 2 / 4, "as long as the longest counts too"


def test_rows_without_a_pick_or_a_grade_are_left_out_of_every_column_and_counted(lab: Lab) -> None:
    first = [*slates(0, 4), Slate([" a", " bb"], [0.5, None])]
    second = slates(1, 5)
    rows = {0: [picked(s, [0.0] * len(s.texts), 0, tied=True) for s in first],
            1: [picked(s, [0.0] * 4, 1, tied=True) for s in second]}  # fmt: skip
    rows[0][2] = picked(first[2], [None] * 4, None)
    line = pick_table(lab, {0: (first, {"some": rows[0]}), 1: (second, {"some": rows[1]})})["some"]
    kept = (0, 1, 3)
    mean = np.mean([first[i].grades[0] for i in kept] + [second[i].grades[1] for i in kept])
    assert line["grade"] == pytest.approx(mean)
    coin = np.mean([np.mean(own[i].grades) for own in (first, second) for i in kept])
    ceiling = np.mean([max(own[i].grades) for own in (first, second) for i in kept])
    assert line["headroom"] == pytest.approx((mean - coin) / (ceiling - coin)), (
        "of the same rows as its grade"
    )
    assert line["ties"] == 6
    assert line["left_out"] == 4


@pytest.mark.parametrize("counts", [(4, 6), (6, 4)])
def test_seeds_may_have_different_numbers_of_rows(lab: Lab, counts: tuple[int, int]) -> None:
    """Rows multiply at collect, by as many as people annotated."""
    seeds = {seed: slates(seed, n) for seed, n in enumerate(counts)}
    rows = {seed: [picked(s, [0.0] * 4, 0) for s in own] for seed, own in seeds.items()}
    line = pick_table(lab, {seed: (own, {"some": rows[seed]}) for seed, own in seeds.items()})["some"]
    assert line["grade"] == pytest.approx(np.mean([s.grades[0] for own in seeds.values() for s in own[:4]]))
    assert line["left_out"] == 2


def test_blank_candidates_rank_last_and_level(lab: Lab) -> None:
    own = [Slate(["", " ", " a", " b"], [0.0, 0.0, 0.9, 0.4])] * 2
    rows = [picked(s, [None, None, 2.0, 1.0], 2) for s in own]
    assert pick_table(lab, {0: (own, {"some": rows})})["some"]["tau"] == pytest.approx(1)


def test_nothing_picked_is_a_reason_and_no_number(lab: Lab) -> None:
    own = slates(0, 3)
    line = pick_table(lab, {0: (own, {"none": [picked(s, [None] * 4, None) for s in own]})})["none"]
    assert line == {
        "ranker": "none",
        "grade": None,
        "reason": "no row was both chosen and graded",
        "left_out": 3,
    }


def test_examples_show_every_ranker_on_the_same_rows_of_the_first_seed(lab: Lab) -> None:
    cells = []
    for seed in (3, 0):
        own = slates(seed, 33)
        lab.finish(f"graded/{seed}", [{"grades": s.grades} for s in own])
        cells.append(Cell("graded", seed, [], {"graded": f"graded/{seed}"}))
        for name, pick in (("first", 0), ("last", 3)):
            lab.finish(f"{name}/{seed}", [picked(s, [0.0, 1.0, 2.0, 3.0], pick) for s in own])
            cells.append(Cell(name, seed, [], {"choose": f"{name}/{seed}"}))
    comparison = Comparison("evaluate", (), (3, 0), picks=("first", "last"), graded_step="graded")
    found = findings.examples(comparison, [], cells, lab.step)
    assert len(found) == findings.EXAMPLES
    assert [row["grades"] for row in found] == [s.grades for s in slates(3, 33)[:30]]
    assert found[0]["picked"] == {"first": 0, "last": 3}
    assert findings.examples(comparison, [], [], lab.step) == []
