"""Arms against arms: a table of planned pairs, at every budget, corrected as one family."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import Lab, by_hand

from ilf._compare.cells import budgeted, cells
from ilf._compare.fixed_plan import plan_of
from ilf._compare.terms import Arm, Comparison, Versus
from ilf._findings.early import withhold
from ilf.errors import UsageError
from ilf.recipe import read_recipe

compare = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function

RECIPE = """
world: nano
form: nano
model: nano
generator: {name: toys.model_echo}
steps:
  load: {n: 12}
  sample: {}
  collect: {feedback: simulated}
  refine: {n: 2}
  choose: {ranker: length}
  train: {start: nano, strategy: toys.slow_learner}
  test: {do: load, split: test, n: 4, seed: 0}
  answer: {do: sample, model: steps.train}
  evaluate: {grader: world}
compare:
  seeds: [0]
  budgets: [400, 1000]
  controls: {own_outputs: false, no_feedback: false, shuffled: false, chance: false, longest: false, oracle: false,
             critiques_in_context: false, prompt_from_critiques: false, base: false}
  arms: {long: {}, short: {set: {choose.ranker.prefer: short}}, few: {set: {refine.n: 1}}}
  versus: {about: at equal seconds, rows: [long, short], columns: [few]}
"""


def test_the_table_is_every_row_minus_every_column_at_each_budget_corrected_together(tmp_path: Path) -> None:
    lab, rng, seeds = Lab(tmp_path), np.random.default_rng(3), (0, 1, 2)
    arms = tuple(Arm(f"{of}@{b}", of=of, budget=b) for of in ("a", "b", "c", "d") for b in (100.0, 200.0))
    own: dict[tuple[str, float], Any] = {}
    for arm in arms:
        values = rng.uniform(0.2, 0.8, (9, 3)) + 0.1 * (arm.of == "a")
        own[arm.of, arm.budget or 0.0] = values
        for seed in seeds:
            rows = [
                {"id": f"{i}", "prompt": f"p{i}", "outputs": ["x"], "grades": [g], "grade": g, "parts": {}}
                for i, g in enumerate(values[:, seed])
            ]
            lab.add(arm.name, seed, {"train": [], "evaluate": rows})
    versus = Versus(("a", "b"), ("c", "d"))
    found = lab.tables(Comparison("evaluate", arms, seeds, budgets=(100.0, 200.0), versus=versus))["versus"]
    wanted = list(itertools.product((100.0, 200.0), "ab", "cd"))
    assert [(entry["budget"], entry["row"], entry["column"]) for entry in found] == wanted
    for entry in found:
        at = entry["budget"]
        pool = [own[p, at] - own[q, at] for p, q in itertools.combinations("abcd", 2)]
        d = own[entry["row"], at] - own[entry["column"], at]
        assert [entry[key] for key in ("difference", "low", "high", "p")] == pytest.approx(by_hand(d, pool))
    smallest = min(found, key=lambda entry: entry["p"])
    assert smallest["p_holm"] == pytest.approx(min(1.0, 8 * smallest["p"])), (
        "one family: all pairs and budgets"
    )


def test_the_pairs_are_part_of_the_plan(recipe_file: Any) -> None:
    recipe = read_recipe(str(recipe_file(RECIPE)))
    comparison = budgeted(recipe, compare.read_comparison(recipe))
    assert {arm.control for arm in comparison.arms} == {None}, "an arm without a control has none"
    assert comparison.versus == Versus(("long", "short"), ("few",), "at equal seconds")
    assert plan_of(comparison, cells(recipe, comparison))["versus"] == [["long", "short"], ["few"]]


def test_no_verdict_before_the_planned_number_of_answers() -> None:
    entry = {
        "row": "a",
        "column": "b",
        "difference": 0.1,
        "p": 0.01,
        "p_holm": 0.01,
        "same": False,
        "mde": 0.1,
    }
    found: dict[str, Any] = {"arms": [], "worth": [], "axes": [], "notes": [], "flags": [], "versus": [entry]}
    withhold(found, {"step": "collect", "planned": 1.0, "now": 0.5})
    assert entry["p"] is None
    assert entry["early"] is True


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "rows: [long, short]",
            "rows: [long, shot]",
            "compare.versus.rows: no arm 'shot'. Did you mean 'short'",
        ),
        (
            "columns: [few]",
            "columns: []",
            "compare.versus.columns: must be a list of arms, none twice; is []",
        ),
        ("columns: [few]", "columns: [few, few]", "must be a list of arms, none twice"),
        ("columns: [few]", "columns: [long]", "compare.versus: arm 'long' is on both sides"),
        ("columns: [few]", "colums: [few]", "compare.versus.colums: unknown. Did you mean 'columns'"),
    ],
)
def test_mistakes_are_named(recipe_file: Any, old: str, new: str, message: str) -> None:
    recipe = read_recipe(str(recipe_file(RECIPE.replace(old, new))))
    with pytest.raises(UsageError) as caught:
        compare.read_comparison(recipe)
    assert message in str(caught.value)
