"""The controls that every comparison carries: added, found under another name, or switched off in so many words."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from ilf._compare.terms import ROLES
from ilf.errors import UsageError
from ilf.recipe import Recipe, read_recipe

comparing = importlib.import_module("ilf.compare")  # `from ilf import compare` is the function

RECIPE = """
world: nano
model: nano
form: nano
generator: {name: toys.model_echo}
steps:
  load: {n: 4}
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
  arms: {ilf: {}}
"""


@pytest.fixture
def recipe(recipe_file: Any) -> Recipe:
    return read_recipe(str(recipe_file(RECIPE)))


def designed(recipe: Recipe) -> Any:
    return comparing.design(recipe)


def test_a_loop_gets_every_control_that_it_lacks(recipe: Recipe) -> None:
    found = designed(recipe)
    roles = found.comparison.controls
    assert roles.pop("longest") == "ilf", "the loop itself picks the longest: the same steps are the same arm"
    assert roles == {role: role for role in ROLES if role != "longest"}
    names = [arm.name for arm in found.comparison.arms]
    assert sorted(names) == sorted(["ilf", *roles])
    assert all(arm.is_control for arm in found.comparison.arms if arm.name != "ilf")


def test_controls_do_what_they_say(recipe: Recipe) -> None:
    steps = {
        cell.arm: {step.name: step for step in cell.plan} for cell in designed(recipe).arms if cell.seed == 0
    }
    assert "train" not in steps["base"]
    assert steps["no_feedback"]["refine"].spec.settings["feedback"] == "none"
    assert steps["no_feedback"]["refine"].reads == ("unlabelled",)
    assert steps["own_outputs"]["choose"].reads == ("unlabelled",)
    assert steps["own_outputs"]["choose"].spec.settings["candidates"] == "output"
    assert steps["shuffled"]["refine"].spec.settings["feedback"] == "shuffled"
    assert steps["chance"]["choose"].spec.settings["ranker"].name == "chance"
    assert steps["oracle"]["choose"].spec.settings["ranker"].name == "oracle"
    context = steps["critiques_in_context"]
    assert "train" not in context, "nothing is trained"
    assert context["answer"].spec.settings["generator"].settings["memory"] == "steps.remembered"
    assert context["remembered"].reads == ("collect",)
    assert (
        steps["prompt_from_critiques"]["answer"].spec.settings["generator"].settings["memory"]
        == "steps.distilled"
    )
    assert steps["ilf"]["refine"].reads == ("collect",), "what read by default reads the same step as before"


def test_an_arm_that_does_the_same_is_the_control_under_its_own_name(recipe: Recipe) -> None:
    recipe.raw["compare"]["arms"] = {
        "untrained": {"is_control": True, "set": {"answer.model": "nano"}},
        "a_coin": {"set": {"choose.ranker": "chance"}},
        "ilf": {"control": "a_coin"},
    }
    roles = designed(recipe).comparison.controls
    assert (roles["base"], roles["chance"]) == ("untrained", "a_coin")
    assert "base" not in [arm.name for arm in designed(recipe).comparison.arms]


def test_a_control_is_switched_off_in_so_many_words(recipe: Recipe) -> None:
    recipe.raw["compare"]["controls"] = {"oracle": False, "longest": False, "base": "ilf"}
    found = designed(recipe).comparison
    assert found.controls["oracle"] is None
    assert found.controls["base"] == "ilf"
    assert "oracle" not in [arm.name for arm in found.arms]
    recipe.raw["compare"]["controls"] = {"orakle": False}
    with pytest.raises(UsageError, match="compare.controls.orakle: no such control. Did you mean 'oracle'"):
        designed(recipe)


def test_an_arm_may_be_compared_with_a_control_that_is_added(recipe: Recipe) -> None:
    recipe.raw["compare"]["arms"] = {"ilf": {"control": "no_feedback"}}
    assert {arm.name: arm.control for arm in designed(recipe).comparison.arms}["ilf"] == "no_feedback"
    recipe.raw["compare"]["controls"] = {"no_feedback": False}
    with pytest.raises(UsageError, match="arm ilf: its control 'no_feedback' is not there: switched off"):
        designed(recipe)


def test_a_recipe_without_the_loop_gets_none_and_keeps_its_steps(recipe: Recipe) -> None:
    recipe.raw["steps"]["train"]["reads"] = ["choose", "choose"]
    found = designed(recipe)
    assert found.comparison.controls == {}
    assert [arm.name for arm in found.comparison.arms] == ["ilf"]
    assert list(found.recipe.raw["steps"]) == list(recipe.raw["steps"])
