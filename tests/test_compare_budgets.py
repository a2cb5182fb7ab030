"""Budgets in seconds of people's time, and further axes: what is added to every arm's steps, and what is not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from ilf._compare.cells import budgeted, cells, pick_cells
from ilf.errors import UsageError
from ilf.progress import Progress
from ilf.recipe import Recipe, read_recipe

comparing = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function

RECIPE = """
world: nano
model: nano
form: nano
generator: {name: toys.model_echo}
steps:
  load: {n: 12}
  sample: {}
  collect: {feedback: simulated}
  unlabelled: {do: unlabel}
  refine: {reads: collect, n: 2}
  graded: {do: evaluate, reads: refine, grader: world, text: refinements}
  choose: {reads: refine, ranker: length}
  four: {do: sample, reads: load, n: 4}
  rank: {do: collect, reads: four, feedback: simulated, job: rank}
  best: {do: choose, candidates: outputs, ranker: length}
  train: {reads: choose, start: nano, strategy: toys.slow_learner}
  both: {do: train, reads: [choose, best], start: nano, strategy: toys.slow_learner}
  test: {do: load, split: test, n: 4, seed: 0}
  answer: {do: sample, reads: test, n: 2, model: steps.train}
  evaluate: {grader: world}
compare:
  seeds: [0, 1]
  budgets: [1000, 400]
  controls: {critiques_in_context: false, prompt_from_critiques: false, oracle: false, longest: false, shuffled: false}
  control: own_outputs
  arms:
    base: {control: null, is_control: true, set: {answer.model: nano}}
    own_outputs: {control: base, is_control: true, set: {choose.reads: unlabelled, choose.candidates: output, choose.ranker: chance}}
    ilf: {}
    mixed: {buys: {collect: 0.5, rank: 0.5}, set: {answer.model: steps.both}}
  picks: {graded: graded, rankers: {chance: {choose.ranker: chance}}}
"""


@pytest.fixture
def recipe(recipe_file: Any) -> Recipe:
    return read_recipe(str(recipe_file(RECIPE)))


def planned(recipe: Recipe, arm: str, seed: int = 0) -> dict[str, Any]:
    comparison = budgeted(recipe, comparing.read_comparison(recipe))
    (cell,) = [c for c in cells(recipe, comparison) if (c.arm, c.seed) == (arm, seed)]
    return {step.name: step for step in cell.plan}


def test_every_arm_that_asks_people_stands_at_every_budget(recipe: Recipe) -> None:
    comparison = budgeted(recipe, comparing.read_comparison(recipe))
    assert [arm.name for arm in comparison.arms] == [
        *("base", "own_outputs@400", "own_outputs@1000", "ilf@400", "ilf@1000", "mixed@400", "mixed@1000")
    ]
    controls = {arm.name: arm.control for arm in comparison.arms}
    assert controls["ilf@400"] == "own_outputs@400", "compared at the same budget"
    assert controls["own_outputs@400"] == "base"
    assert {arm.budget for arm in comparison.arms} == {None, 400.0, 1000.0}


def test_what_read_the_pool_reads_what_was_bought(recipe: Recipe) -> None:
    steps = planned(recipe, "ilf@400")
    assert steps["bought_collect"].verb == "buy"
    assert steps["bought_collect"].reads == ("collect",)
    assert steps["bought_collect"].spec.settings["seconds"] == 400
    assert steps["refine"].reads == ("bought_collect",)
    own = planned(recipe, "own_outputs@400")
    assert own["unlabelled"].reads == ("bought_collect",), (
        "a control has the treatment's rows, read by default too"
    )


def test_a_mixed_budget_is_shared(recipe: Recipe) -> None:
    steps = planned(recipe, "mixed@1000")
    assert {name: steps[f"bought_{name}"].spec.settings["seconds"] for name in ("collect", "rank")} == {
        "collect": 500.0,
        "rank": 500.0,
    }
    assert steps["best"].reads == ("bought_rank",)


@pytest.mark.parametrize(
    ("buys", "message"),
    [
        (None, "arm mixed@400: it learns from what people said at collect, rank; .*collect: 0.5, rank: 0.5"),
        ({"collect": 1.0}, "arm mixed@400: it learns from .* must give each"),
        ({"collect": 0.5, "rank": 0.4, "load": 0.1}, "and names load"),
    ],
)
def test_who_is_paid_what_must_be_said_where_several_ask(recipe: Recipe, buys: Any, message: str) -> None:
    recipe.raw["compare"]["arms"]["mixed"]["buys"] = buys
    with pytest.raises(UsageError, match=message):
        planned(recipe, "ilf@400")


def test_picks_are_made_at_the_smallest_budget(recipe: Recipe) -> None:
    comparison = budgeted(recipe, comparing.read_comparison(recipe))
    for cell in pick_cells(recipe, comparison)[:2]:
        steps = {step.name: step for step in cell.plan}
        assert steps["bought_collect"].spec.settings["seconds"] == 400


def test_the_pool_is_made_once_and_the_bill_is_what_was_bought(recipe: Recipe, tmp_path: Path) -> None:
    """400 s buy two critiques of 182.5 s, 1,000 s five; half of it two critiques and two rankings of 184.5 s."""
    result = comparing.compare(recipe, tmp_path / "runs", Progress(quiet=True))
    arms = {arm["arm"]: arm for arm in result["arms"]}
    assert arms["ilf@400"]["human_seconds"] == 2 * 182.5
    assert arms["ilf@1000"]["human_seconds"] == 5 * 182.5
    assert arms["mixed@1000"]["human_seconds"] == 2 * 182.5 + 2 * 184.5
    assert arms["own_outputs@400"]["human_seconds"] == 0, "nothing that was said reaches it"
    assert arms["own_outputs@400"]["unlabelled_prompts"] == 2
    assert arms["ilf@400"]["unlabelled_prompts"] == 0
    assert arms["base"]["human_seconds"] == 0
    collects = list((tmp_path / "runs").glob("collect-*"))
    assert len(collects) == 2, "one pool a seed"
    assert result["budgets"] == [400.0, 1000.0]
    assert result["ledger"]["by_job"]["critique"]["annotations"] == 2 * 5, (
        "the larger budget holds the smaller"
    )


AXES = """
  axes:
    phrasing: {about: other words, load: {split: test_phrasing}, n: 3}
    twins: {load: {twins: true}, n: 4, samples: 3}
"""


def test_an_axis_asks_the_arms_own_policy_on_other_prompts(recipe_file: Any) -> None:
    recipe = read_recipe(str(recipe_file(RECIPE + AXES)))
    steps = planned(recipe, "base")
    assert steps["test_phrasing"].spec.settings["split"] == "test_phrasing"
    assert steps["test_phrasing"].spec.settings["n"] == 3
    assert steps["answer_phrasing"].reads == ("test_phrasing",)
    assert steps["answer_phrasing"].spec.settings["n"] == 1
    assert steps["answer_twins"].spec.settings["n"] == 3
    assert steps["evaluate_phrasing"].reads == ("answer_phrasing",)
    assert steps["answer_phrasing"].spec.settings["generator"].settings["model"] == "nano", (
        "the arm's override too"
    )
    assert steps["test"].spec.settings["n"] == 4, "the test itself is what it was"


def test_an_axis_needs_prompts_of_one_step_and_a_name_of_its_own(recipe_file: Any) -> None:
    recipe = read_recipe(str(recipe_file(RECIPE + AXES)))
    recipe.raw["steps"]["answer"]["reads"] = ["test", "load"]
    with pytest.raises(UsageError, match="compare.axes: step 'answer' reads several steps"):
        planned(recipe, "base")
    recipe = read_recipe(str(recipe_file(RECIPE + AXES)))
    recipe.raw["steps"]["test_phrasing"] = {"do": "load", "n": 3}
    with pytest.raises(UsageError, match="the recipe has a step 'test_phrasing' of its own"):
        planned(recipe, "base")
