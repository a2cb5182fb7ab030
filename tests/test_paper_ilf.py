"""benchmarks/paper_ilf.py: the paper's figures, win rates from stored rows, and tables from figures."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ilf.compare import design
from ilf.recipe import read_recipe
from ilf.worlds._nano_grammar import canonical, fixed, parse, render
from ilf.worlds._nano_grammar import faults as nano_faults
from ilf.worlds.nano import Nano
from ilf.worlds.word_removal import WordRemoval

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def paper() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paper_ilf", ROOT / "benchmarks" / "paper_ilf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+\.\d+", text)]


def test_figures_are_the_paper_s(paper: ModuleType) -> None:
    """Typed a second time, from the paper's released results: tables of rankers, refinements, arms, rounds."""
    assert {name: numbers(text)[0] for name, text in paper.PAPER_RANKERS.items()} == {
        "length": 65.0,
        "similarity": 48.3,
        "judge": 55.0,
        "reward_1000": 63.3,
        "ensemble": 56.0,
    }
    assert numbers(paper.PAPER_RANKERS["judge"]) == [55.0, 58.0, 56.5, 55.8, 50.0]
    assert numbers(paper.PAPER_RANKERS["reward_1000"]) == [63.3, 61.8]
    assert paper.PAPER_REFINEMENTS == {
        "no feedback": (59.4, 26.6, 30.8),
        "feedback, random of 5": (63.9, 30.6, 49.6),
        "feedback, best of 5": (69.1, 30.3, 57.4),
        "human": (83.2, None, 74.0),
    }
    assert paper.PAPER_ARMS == {
        "generator": (20.8, 23.9, 22.5),
        "initial": (19.6, 25.1, 27.3),
        "human": (16.8, 26.3, 28.9),
        "ilf_judge": (19.6, 29.2, 31.3),
        "best_of_64": (25.5, 42.0, 43.7),
        "ilf_best_of_64": (None, None, 50.8),
    }
    assert {pair: numbers(text)[0] for pair, text in paper.PAPER_PAIRS.items()} == {
        ("ilf_judge_1000", "initial_1000"): 53.8,
        ("ilf_judge_1000", "human_1000"): 53.5,
        ("ilf_judge_1000", "generator"): 56.3,
        ("best_of_64_1000", "ilf_judge_1000"): 63.4,
        ("ilf_judge_100", "generator"): 44.3,
        ("ilf_judge_100", "initial_100"): 48.9,
    }
    assert {arm: numbers(text)[0] for (arm, _), text in paper.PAPER_ROUNDS.items()} == {
        "union_2": 48.9,
        "continued_2": 49.4,
        "union_3": 55.6,
        "continued_3": 50.9,
    }
    assert paper.trials.PAPER == {
        "350M": (1.2, None),
        "1.3B": (1.7, None),
        "6.7B": (8.2, None),
        "175B": (38.5, 1.3),
    }
    assert paper.PAPER_INSTRUCT == {"350M": 1.6, "1.3B": 2.2, "6.7B": 6.0, "175B": 35.8}


def test_a_win_is_counted_over_all_meetings_and_a_tie_is_half(paper: ModuleType) -> None:
    for own, other in itertools.product([[0.2], [0.2, 0.9], [0.5, 0.5, 1.0]], [[0.5], [0.2, 1.0]]):
        meetings = list(itertools.product(own, other))
        assert paper.won(own, other) == pytest.approx(
            sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in meetings) / len(meetings)
        )
    assert paper.won([0.1 + 0.2], [0.3]) == 0.5, "rounding is no victory"
    one, two = [[[1.0], [0.0]], [[0.5], [0.5]]], [[[0.0], [0.0]], [[0.5], [1.0]]]
    assert paper.head_to_head(one, two)[0] == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert paper.head_to_head(two, one)[0] == pytest.approx(1 - (1 + 0.5 + 0.5 + 0) / 4)


class Rows:
    """A finished step."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def rows(self) -> list[dict[str, Any]]:
        return self._rows


def fake(
    arms: dict[tuple[str, int], dict[str, list[dict[str, Any]]]], cells_of_picks: Any = (), **terms: Any
) -> tuple[Any, dict[str, Rows]]:
    """A design and its finished steps from rows: (arm, seed) -> step -> rows."""
    made: dict[str, Rows] = {}

    def cells(of: Any) -> list[Any]:
        found = []
        for (arm, seed), steps in of.items():
            keys = {name: f"{arm} {seed} {name}" for name in steps}
            made.update({keys[name]: Rows(rows) for name, rows in steps.items()})
            found.append(SimpleNamespace(arm=arm, seed=seed, keys=keys))
        return found

    comparison = SimpleNamespace(target="evaluate", seeds=(0, 1), **terms)
    return SimpleNamespace(comparison=comparison, arms=cells(arms), picks=cells(dict(cells_of_picks))), made


def test_answers_are_matched_by_prompt_on_one_slate(paper: ModuleType) -> None:
    def step(**grades: list[float]) -> dict[str, Any]:
        return {"evaluate": [{"prompt": prompt, "grades": own} for prompt, own in grades.items()]}

    designed, made = fake(
        {
            ("reference", 0): step(a=[1.0], b=[0.5]),
            ("x", 0): step(b=[0.6, 0.5], a=[0.9, 1.0]),
            ("reference", 1): step(a=[1.0], b=[0.5]),
            ("x", 1): step(a=[0.0, 0.0], b=[0.0, 0.0]),
        }
    )
    slate = paper.slates(designed, made)
    assert slate["x"] == [[[0.9, 1.0], [0.6, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]
    found = paper.arm_figures(slate)
    assert list(found) == ["x"]
    assert found["x"]["win"][0] == pytest.approx((0.25 + 0.75 + 0 + 0) / 4)
    assert found["x"]["grade"][0] == pytest.approx((0.95 + 0.55) / 4)


def test_a_pick_meets_a_random_pick_of_the_same_candidates(paper: ModuleType) -> None:
    graded = {"graded": [{"grades": [0.1, 0.5, 0.9]}, {"grades": [0.4, 0.4, 0.4]}]}
    best = {"choose": [{"picked": 2}, {"picked": 0}]}
    worst = {"choose": [{"picked": 0}, {"picked": None}]}
    picks = {("graded", 0): graded, ("best", 0): best, ("worst", 0): worst}
    designed, made = fake({}, picks, graded_step="graded", picks_step="choose", picks=("best", "worst"))
    found = paper.ranker_figures(designed, made)
    # Of three different candidates the best beats two and meets itself.
    assert found["best"]["win"][0] == pytest.approx((2.5 / 3 + 0.5) / 2)
    assert found["worst"]["win"][0] == pytest.approx((0.5 / 3 + 0.5) / 2)
    assert found["best"]["grade"][0] == pytest.approx(0.65)


def test_faults_that_a_critique_names_are_gone_or_not_nano(paper: ModuleType) -> None:
    world, rng = Nano(), random.Random(1)
    while True:
        facts = world.facts(rng, "train")
        output = world.faulty(rng, facts)
        summary = parse(output)
        assert summary is not None
        bad = nano_faults(facts, summary)
        if len(bad) > 2:
            break
    better = render(canonical(fixed(summary, bad[0])))
    right = world.demonstrate(rng, facts)
    row = {"facts": facts, "output": output, "refinements": [better, output, right]}
    designed, made = fake(
        {
            ("ilf_judge_1000", 0): {"choose": [{**row, "completion": better}] * 2},
            ("ilf_chance_1000", 0): {
                "choose": [{**row, "completion": output}, {**row, "completion": better}]
            },
            ("no_feedback_1000", 0): {"choose": [{**row, "completion": "gibberish"}] * 2},
            ("human_1000", 0): {"demonstrate": [{"facts": facts, "completion": right}] * 2},
        }
    )
    found = paper.refinement_figures(designed, made, world)
    gone = {name: parts["gone"] and parts["gone"][0] for name, parts in found.items()}
    assert gone == {
        "initial output": None,
        "no feedback": 0.0,
        "feedback, random of 5": pytest.approx(0.5 / len({f.slot for f in bad})),
        "feedback, best of 5": pytest.approx(1 / len({f.slot for f in bad})),
        "feedback, best of 5 by the grade": 1.0,
        "human": 1.0,
    }
    assert found["feedback, best of 5"]["all_gone"][0] == 0.0
    assert found["feedback, best of 5 by the grade"]["all_gone"][0] == 1.0
    assert found["feedback, best of 5"]["vs_initial"][0] == 1.0
    assert found["feedback, random of 5"]["vs_initial"][0] == 0.75
    assert found["feedback, best of 5"]["vs_human"][0] == 0.0
    assert found["human"]["vs_human"] is None
    assert found["initial output"]["vs_human"][0] == 0.0
    assert found["no feedback"]["grade"][0] == 0.0


def test_faults_that_a_critique_names_are_found_in_both_worlds(paper: ModuleType) -> None:
    """What the annotator, who never errs, calls faultless has no fault here, and the other way round."""
    rng = random.Random(0)
    for world in (Nano(), WordRemoval()):
        for _ in range(200):
            facts = world.facts(rng, "train")
            text = world.faulty(rng, facts)
            says_nothing = world.critique(rng, facts, text) == "Nothing to change."
            assert says_nothing == (not paper.named(facts, text))
            assert not paper.named(facts, world.demonstrate(rng, facts))
            told = paper.named(facts, "gibberish")
            assert told
            assert paper.left_of(told, facts, "gibberish") == 1.0
            assert paper.left_of(told, facts, world.demonstrate(rng, facts)) == 0.0


def synthetic(paper: ModuleType) -> dict[str, Any]:
    """A result in which every figure is another one."""
    count = itertools.count(1)

    def one() -> list[float]:
        value = next(count) / 1000
        return [value, value - 0.0005, value + 0.0005]

    names = ["initial output", *paper.PAPER_REFINEMENTS]
    sized = [
        f"{arm}_{n}" for arm in paper.ARMS for n in paper.SIZES if arm not in ("generator", *paper.ALONE)
    ]
    arms = [
        *(["generator", "ilf_best_of_64", "ilf_judge_200", "ilf_judge_300", *sized]),
        *(f"{kind}_{n}" for kind in ("union", "continued") for n in (2, 3)),
    ]
    meetings = (*paper.PAPER_PAIRS, *paper.PAPER_ROUNDS)
    keys = ("vs_initial", "vs_human", "all_gone", "gone", "grade")
    worlds = {
        world: {
            "rankers": {name: {"win": one(), "grade": one()} for name in paper.RANKERS},
            "refinements": {name: {key: one() for key in keys} for name in names},
            "arms": {arm: {"win": one(), "grade": one()} for arm in arms},
            "pairs": {f"{arm} over {other}": one() for arm, other in meetings},
        }
        for world in paper.WORLDS
    }
    trials = {
        size: {"parameters": 1000 * n, "exact": n / 10, "error": 0.01}
        for n, size in enumerate(("small", "medium", "large"), 1)
    }
    return {"worlds": worlds, "trials": trials, "cpu_seconds": {"nano": 1200, "trials": 34}}


def lines_of(markdown: str) -> dict[str, list[str]]:
    """First cell -> the other cells, of the last table that has it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line]
    assert all(row for row in rows)
    return {row[0]: row[1:] for row in rows}


def test_every_figure_stands_beside_the_paper_s_in_its_place(paper: ModuleType) -> None:
    found = synthetic(paper)
    made = paper.tables(found)
    nano, second = found["worlds"].values()
    length = lines_of(made["rankers"])["the longest"]
    assert length[0] == "65.0"
    assert length[1] == paper.percent(nano["rankers"]["length"]["win"])
    assert length[4] == paper.grade_of(second["rankers"]["length"]["grade"])
    first, *_ = made["refinements"].split("\n\n")
    best = lines_of(first)["feedback, best of 5"]
    assert best == [
        "69.1",
        *(paper.percent(w["refinements"]["feedback, best of 5"]["vs_initial"]) for w in (nano, second)),
    ]
    of_nano = lines_of(made["arms"].split("\n\n")[0])
    assert of_nano["tuned on human texts"] == [
        *("16.8", "26.3", "28.9"),
        *(paper.percent(nano["arms"][f"human_{n}"]["win"]) for n in (25, 100, 250, 1000)),
    ]
    assert of_nano[paper.ARMS["ilf_best_of_64"]] == [
        *("-", "-", "50.8", "-", "-", "-"),
        paper.percent(nano["arms"]["ilf_best_of_64"]["win"]),
    ]
    assert of_nano["the model as it is"][3:] == [paper.percent(nano["arms"]["generator"]["win"])] * 4
    pairs = lines_of(made["pairs"])["`ilf_judge_100` over `generator`"]
    assert pairs == [
        "44.3 ± 1.9 (100)",
        *(paper.percent(w["pairs"]["ilf_judge_100 over generator"]) for w in (nano, second)),
    ]
    assert lines_of(made["rounds"].split("\n\n")[1])["`union_3`"] == [
        paper.grade_of(w["arms"]["union_3"]["grade"]) for w in (nano, second)
    ]
    assert lines_of(made["time"])["1,200"] == ["34", "1,234"]
    sizes = lines_of(made["trials"])
    assert sizes["`word_removal_large`"] == ["3,000", "30.0 ± 1.0", "-"]
    assert ["175B", "38.5 ± 1.3", "35.8"] in [
        [cell.strip() for cell in line.strip("|").split("|")][1:] for line in made["trials"].splitlines()
    ]


def test_figures_are_printed_with_their_interval_or_not_at_all(paper: ModuleType) -> None:
    assert paper.percent([0.639, 0.6, 0.68]) == "63.9 [60.0, 68.0]"
    assert paper.percent([0.5, None, None]) == "50.0"
    assert paper.percent([0.0, 0.0, 0.02]) == "0.0 [0.0, 2.0]"
    assert paper.percent(None) == paper.percent([None, None, None]) == "-"
    assert paper.grade_of([0.781, 0.7, 1.0]) == ".781 [.700, 1.000]"


def test_tables_go_between_their_marks_and_nowhere_else(paper: ModuleType) -> None:
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    made = paper.written(text, {"x": "new\n", "y": r"\1" + "\n"})
    assert made == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n<!-- y -->\n\\1\n<!-- /y -->\n"
    with pytest.raises(SystemExit, match="<!-- z -->"):
        paper.written(text, {"z": "new\n"})


@pytest.mark.parametrize("name", ["paper_ilf", "paper_ilf_word_removal"])
def test_an_arm_s_sizes_differ_in_the_number_of_rows_alone(paper: ModuleType, name: str) -> None:
    """The first rows of a world are the same for every ``n``, so smaller sets begin the larger ones."""
    comparison = design(read_recipe(name).override({"compare.seeds": [0]})).comparison
    overrides = {arm.name: dict(arm.overrides) for arm in comparison.arms}
    for kind in ("initial", "no_feedback", "ilf_chance", "ilf_judge", "human"):
        each = [overrides[f"{kind}_{n}"] for n in paper.SIZES]
        assert [own.pop("load.n") for own in each] == list(paper.SIZES)
        assert all(own == each[0] for own in each)
    arms = {a for pair in (*paper.PAPER_PAIRS, *paper.PAPER_ROUNDS) for a in pair}
    assert arms <= set(overrides)
    assert set(comparison.picks) == set(paper.RANKERS)


def test_the_figures_kept_are_of_a_full_run_and_stand_in_the_readme(paper: ModuleType) -> None:
    kept = json.loads(paper.RESULTS.read_text(encoding="utf-8"))
    assert kept["seeds"] == [0, 1, 2]
    assert list(kept["worlds"]) == list(paper.WORLDS)
    assert sum(kept["cpu_seconds"].values()) <= 50 * 60
    readme = paper.README.read_text(encoding="utf-8")
    assert paper.written(readme, paper.tables(kept)) == readme
    assert np.isfinite([kept["worlds"]["nano"]["arms"]["human_1000"]["grade"][0]]).all()
